// A verifier and a holder made of somebody else's code: @sd-jwt/sd-jwt-vc and @sd-jwt/jwt-status-list, WebCrypto, and
// Node's own X.509 for the chain. One question as JSON on stdin, one answer as JSON on stdout.
//
// {do: "verify", credential, anchors: [PEM], status: token|null, nonce: text|null, aud: text|null, now: seconds}
//   → {claims, header, kb: {header, payload}|null, status: number|null}
// {do: "present", credential, frame: {claim: true, …}, holder: private JWK, nonce, aud, now} → {presentation}
//
// The library checks the nonce of a key binding and not its aud: this file does, as every caller of it must.
import { X509Certificate } from "node:crypto";
import { ES256, digest, generateSalt } from "@sd-jwt/crypto-nodejs";
import { getListFromStatusListJWT } from "@sd-jwt/jwt-status-list";
import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";
import { answer, question } from "./conversation.mjs";

const header = (jwt) => JSON.parse(Buffer.from(jwt.split(".")[0], "base64url"));

/** The leaf's key of an x5c header, after its chain was followed to one of `anchors`. */
function leafKey(jwt, anchors, now) {
  const head = header(jwt);
  if (head.alg !== "ES256") throw new Error("alg is not ES256");
  const chain = head.x5c.map((text) => new X509Certificate(Buffer.from(text, "base64")));
  const roots = anchors.map((pem) => new X509Certificate(pem));
  const when = new Date(now * 1000);
  chain.forEach((certificate, place) => {
    const above = chain[place + 1] ?? roots.find((root) => certificate.checkIssued(root));
    if (!above || !certificate.checkIssued(above) || !certificate.verify(above.publicKey) || !above.ca)
      throw new Error("x5c does not lead to an anchor");
    if (when < new Date(certificate.validFrom) || when > new Date(certificate.validTo))
      throw new Error("a certificate of x5c is not of now");
  });
  return chain[0].publicKey.export({ format: "jwk" });
}

async function verify({ credential, anchors, status, nonce, aud, now }) {
  let level = null;
  const verifier = async (data, signature, options) =>
    (await ES256.getVerifier(leafKey(data, anchors, options.currentDate)))(data, signature);
  const judge = new SDJwtVcInstance({
    hasher: digest,
    hashAlg: "sha-256",
    verifier,
    statusVerifier: verifier,
    kbVerifier: async (data, signature, payload) =>
      (await ES256.getVerifier(payload.cnf.jwk))(data, signature),
    statusListFetcher: async (uri) => {
      if (!status) throw new Error("no status list here");
      if (JSON.parse(Buffer.from(status.split(".")[1], "base64url")).sub !== uri)
        throw new Error("the status list of another address");
      return status;
    },
    statusValidator: async (value) => {
      level = value;
      if (value !== 0) throw new Error("Status is not valid");
    },
  });
  const done = await judge.verify(credential, {
    currentDate: now,
    ...(nonce ? { keyBindingNonce: nonce } : {}),
  });
  if (aud && done.kb?.payload.aud !== aud) throw new Error("aud is another");
  return { claims: done.payload, header: done.header, kb: done.kb ?? null, status: level };
}

async function present({ credential, frame, holder, nonce, aud, now }) {
  const wallet = new SDJwtVcInstance({
    hasher: digest,
    hashAlg: "sha-256",
    saltGenerator: generateSalt,
    kbSigner: await ES256.getSigner(holder),
    kbSignAlg: "ES256",
  });
  const payload = { aud, iat: now, nonce };
  return { presentation: await wallet.present(credential, frame, { kb: { payload } }) };
}

/** Every entry of a status list, as the library unpacks it. */
function entries({ status }) {
  const list = getListFromStatusListJWT(status);
  const set = list.statusList.flatMap((value, index) => (value ? [index] : []));
  return { bits: list.getBitsPerStatus(), size: list.statusList.length, set };
}

const deeds = { verify, present, entries };
await answer(async () => {
  const asked = await question();
  return deeds[asked.do](asked);
});
