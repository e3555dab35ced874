// A wallet of somebody else that answers a verifier: OpenID4VP 1.0 by @openid4vc/openid4vp, the query by dcql, the
// presentation by @sd-jwt, encryption by jose. None of them is our code.
//
// Input: {credential, holder: private JWK, now: seconds, also of its clock} and one of
//   address  "openid4vp://…" or the https link: fetched, answered, posted → {status, answer (JSON of the verifier), …}
//   request  a signed request object (JWS text)                          → {response (JWE text), …}
// base: where public addresses really listen; enc: ["A256GCM"] what this wallet can encrypt with.
// Output besides: client_id, version, shown (the claims handed over), query.
import { X509Certificate, createHash, randomBytes } from "node:crypto";
import { setGlobalConfig } from "@openid4vc/oauth2";
import { Openid4vpClient } from "@openid4vc/openid4vp";
import { ES256, digest, generateSalt } from "@sd-jwt/crypto-nodejs";
import { SDJwtVcInstance } from "@sd-jwt/sd-jwt-vc";
import { DcqlQuery } from "dcql";
import * as jose from "jose";
import { answer, question, stopClock } from "./conversation.mjs";
import { translate } from "./transport.mjs";

setGlobalConfig({ allowInsecureUrls: false });

const leafOf = (signer) => new X509Certificate(Buffer.from(signer.x5c[0], "base64"));

function callbacks(base) {
  return {
    fetch: (address, options) => fetch(translate(String(address), base), { ...options, redirect: "manual" }),
    hash: (data, alg) => createHash(alg.replace("-", "").toLowerCase()).update(data).digest(),
    generateRandom: (length) => randomBytes(length),
    // x509_hash binds the request to this certificate; who is behind it is not the library's question
    verifyJwt: async (signer, { compact }) => {
      const key = leafOf(signer).publicKey;
      try {
        await jose.compactVerify(compact, key, { algorithms: ["ES256"] });
      } catch {
        return { verified: false };
      }
      return { verified: true, signerJwk: key.export({ format: "jwk" }) };
    },
    getX509CertificateMetadata: () => ({ sanDnsNames: [], sanUriNames: [] }),
    encryptJwe: async ({ publicJwk, alg, enc, apu, apv }, data) => {
      const encrypt = new jose.CompactEncrypt(new TextEncoder().encode(data))
        .setProtectedHeader({ alg, enc, kid: publicJwk.kid })
        .setKeyManagementParameters({
          ...(apu ? { apu: jose.base64url.decode(apu) } : {}),
          ...(apv ? { apv: jose.base64url.decode(apv) } : {}),
        });
      return { encryptionJwk: publicJwk, jwe: await encrypt.encrypt(await jose.importJWK(publicJwk, alg)) };
    },
    decryptJwe: async () => ({ decrypted: false }),
    signJwt: async () => {
      throw new Error("this wallet signs key bindings only");
    },
  };
}

/** {"income": {"total": 1}} → {"income": {"total": true}}: what @sd-jwt wants to know. */
const frame = (claims) =>
  Object.fromEntries(
    Object.entries(claims).map(([name, value]) => [
      name,
      value !== null && typeof value === "object" && !Array.isArray(value) ? frame(value) : true,
    ]),
  );

async function present(wish, asked) {
  const wallet = new SDJwtVcInstance({
    hasher: digest,
    hashAlg: "sha-256",
    saltGenerator: generateSalt,
    kbSigner: await ES256.getSigner(wish.holder),
    kbSignAlg: "ES256",
  });
  const claims = await wallet.getClaims(wish.credential);
  const query = DcqlQuery.parse(asked.dcql_query);
  DcqlQuery.validate(query);
  const held = { credential_format: "dc+sd-jwt", vct: claims.vct, claims, cryptographic_holder_binding: true };
  const result = DcqlQuery.query(query, [held]);
  if (!result.can_be_satisfied) throw new Error("this wallet holds nothing that answers the query");
  const [{ id }] = query.credentials;
  const shown = result.credential_matches[id].valid_credentials[0].claims.valid_claim_sets[0].output;
  const payload = { aud: asked.client_id, nonce: asked.nonce, iat: wish.now };
  const presentation = await wallet.present(wish.credential, frame(shown), { kb: { payload } });
  return { shown, vp_token: { [id]: [presentation] } };
}

await answer(async () => {
  const wish = await question();
  stopClock(wish.now);
  const known = callbacks(wish.base ?? {});
  const client = new Openid4vpClient({ callbacks: known });
  const inline = wish.request && {
    client_id: JSON.parse(Buffer.from(wish.request.split(".")[1], "base64url")).client_id,
    request: wish.request,
  };
  const opened = client.parseOpenid4vpAuthorizationRequest({ authorizationRequest: inline || wish.address });
  const resolved = await client.resolveOpenId4vpAuthorizationRequest({ authorizationRequestPayload: opened.params });
  const asked = resolved.authorizationRequestPayload;
  const { shown, vp_token } = await present(wish, asked);
  const made = await client.createOpenid4vpAuthorizationResponse({
    authorizationRequestPayload: asked,
    authorizationResponsePayload: { vp_token },
    jarm: {
      encryption: { nonce: randomBytes(16).toString("base64url") },
      serverMetadata: {
        authorization_signing_alg_values_supported: [],
        authorization_encryption_alg_values_supported: ["ECDH-ES"],
        authorization_encryption_enc_values_supported: wish.enc ?? ["A256GCM"],
      },
    },
  });
  const told = { client_id: asked.client_id, version: resolved.version, shown, query: asked.dcql_query };
  if (inline) return { ...told, response: made.jarm.responseJwt };
  const { response } = await client.submitOpenid4vpAuthorizationResponse({
    authorizationRequestPayload: asked,
    authorizationResponsePayload: made.authorizationResponsePayload,
    jarm: made.jarm,
  });
  return { ...told, status: response.status, answer: JSON.parse((await response.text()) || "null") };
});
