// A wallet's keys and what oid4vc-ts wants done with them, by the npm package `jose`.
import { createHash, randomBytes, X509Certificate } from "node:crypto";
import * as jose from "jose";

const publicPart = ({ kty, crv, x, y }) => ({ crv, kty, x, y });
const seconds = () => Math.floor(Date.now() / 1000);

/** P-256 keys by thumbprint; a signer of the library names one by its public JWK. */
export class Keyring {
  #keys = new Map();

  /** A fresh key, or `jwk` (private). Returns {privateJwk, publicJwk}. */
  async add(jwk) {
    if (!jwk) {
      const pair = await jose.generateKeyPair("ES256", { extractable: true });
      jwk = await jose.exportJWK(pair.privateKey);
    }
    const key = { privateJwk: jwk, publicJwk: publicPart(jwk) };
    this.#keys.set(await jose.calculateJwkThumbprint(key.publicJwk), key);
    return key;
  }

  /** How oid4vc-ts is told to sign with a key of ours. */
  static signer = (key) => ({ method: "jwk", alg: "ES256", publicJwk: key.publicJwk });

  async sign(publicJwk, header, payload) {
    const { privateJwk } = this.#keys.get(await jose.calculateJwkThumbprint(publicPart(publicJwk)));
    const key = await jose.importJWK(privateJwk, "ES256");
    return new jose.SignJWT(payload).setProtectedHeader(header).sign(key);
  }

  /** The callbacks of oid4vc-ts. `anchors`: PEM roots for signed metadata; without them it is not asked for. */
  callbacks({ fetch, clientAuthentication, anchors }) {
    return {
      fetch,
      clientAuthentication,
      hash: (data, alg) => createHash(alg.replace("-", "").toLowerCase()).update(data).digest(),
      generateRandom: (length) => randomBytes(length),
      signJwt: async (signer, { header, payload }) => ({
        jwt: await this.sign(signer.publicJwk, header, payload),
        signerJwk: signer.publicJwk,
      }),
      ...(anchors ? { verifyJwt: (signer, jwt) => verifyByX5c(signer, jwt, anchors) } : {}),
    };
  }
}

async function verifyByX5c(signer, { compact }, anchors) {
  const chain = (signer.x5c ?? []).map((text) => new X509Certificate(Buffer.from(text, "base64")));
  const roots = anchors.map((pem) => new X509Certificate(pem));
  const leads = chain.every((certificate, place) => {
    const above = chain[place + 1] ?? roots.find((root) => certificate.checkIssued(root));
    return above && certificate.verify(above.publicKey);
  });
  if (!chain.length || !leads) return { verified: false };
  try {
    await jose.compactVerify(compact, chain[0].publicKey, { algorithms: ["ES256"] });
  } catch {
    return { verified: false };
  }
  return { verified: true, signerJwk: publicPart(chain[0].publicKey.export({ format: "jwk" })) };
}

/** The wallet's maker (模擬/MOCK): signs who the wallet is, and that keys are kept in hardware. */
export class WalletMaker {
  /** provider: {jwk: private JWK, x5c: [base64 DER], issuer} */
  constructor({ jwk, x5c, issuer }) {
    this.jwk = jwk;
    this.head = { alg: "ES256", x5c };
    this.issuer = issuer;
  }

  async #sign(typ, payload) {
    const key = await jose.importJWK(this.jwk, "ES256");
    const times = { iat: seconds(), exp: seconds() + 300 };
    return new jose.SignJWT({ ...times, ...payload }).setProtectedHeader({ ...this.head, typ }).sign(key);
  }

  /** Attestation-based client authentication: this instance is a copy of the wallet `clientId`, reached there. */
  attestClient(clientId, publicJwk, redirectUris) {
    const cnf = { jwk: publicJwk };
    const named = redirectUris ? { redirect_uris: redirectUris } : {};
    return this.#sign("oauth-client-attestation+jwt", { iss: this.issuer, sub: clientId, cnf, ...named });
  }

  /** OpenID4VCI 1.0 Appendix D: these keys lie in protected storage. */
  attestKeys(publicJwks, nonce) {
    const kept = { key_storage: ["iso_18045_high"], user_authentication: ["iso_18045_high"] };
    return this.#sign("key-attestation+jwt", {
      iss: this.issuer,
      attested_keys: publicJwks,
      nonce,
      ...kept,
    });
  }
}
