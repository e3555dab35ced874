// The way of a wallet's calls: public addresses are carried to where the test's door listens, and credential requests
// and answers are encrypted here (OpenID4VCI 1.0 section 10), because oid4vc-ts 0.4 reads and writes only plain JSON.
import * as jose from "jose";

/** `base`: {"https://door.example": "http://127.0.0.1:1234"}; the longest prefix wins. */
export function translate(url, base) {
  const known = Object.keys(base).filter((prefix) => url === prefix || url.startsWith(`${prefix}/`));
  const prefix = known.sort((one, two) => two.length - one.length)[0];
  return prefix === undefined ? url : base[prefix] + url.slice(prefix.length);
}

export class Transport {
  /** Every call in order: {method, url, status, dpop, encrypted}. No bodies: they hold codes and tokens. */
  calls = [];
  #metadata = null;
  #answerKey = null;

  constructor({ base, requestEncryption = false, responseEncryption = false, enc = "A256GCM", signedMetadata = false }) {
    Object.assign(this, { base, requestEncryption, responseEncryption, enc, signedMetadata });
  }

  /** From now on the credential end points are known, and with them what is encrypted. */
  async know(issuerMetadata) {
    this.#metadata = issuerMetadata;
    if (this.responseEncryption) this.#answerKey = await jose.generateKeyPair("ECDH-ES", { crv: "P-256" });
  }

  fetch = async (address, options = {}) => {
    const url = String(address);
    const secret = this.#metadata && this.#sealed(url) && options.method === "POST";
    const sent = secret ? await this.#seal(options) : this.#accepting(url, options);
    const response = await fetch(translate(url, this.base), { ...sent, redirect: "manual" });
    const call = { method: sent.method ?? "GET", url, status: response.status };
    call.dpop = new Headers(sent.headers).has("DPoP");
    const isEncrypted = secret && isJwe(response);
    call.encrypted = [secret && this.requestEncryption, isEncrypted].map(Boolean);
    this.calls.push(call);
    return isEncrypted ? this.#open(response) : response;
  };

  // oid4vc-ts 0.4 reads signed metadata and never asks for it: its requests carry no Accept.
  #accepting(url, options) {
    if (!this.signedMetadata || !url.includes("/.well-known/openid-credential-issuer/")) return options;
    return { ...options, headers: { ...options.headers, Accept: "application/jwt, application/json" } };
  }

  #sealed(url) {
    const { credential_endpoint, deferred_credential_endpoint } = this.#metadata;
    return url === credential_endpoint || url === deferred_credential_endpoint;
  }

  async #seal(options) {
    const body = JSON.parse(options.body);
    if (this.#answerKey) {
      const jwk = { ...(await jose.exportJWK(this.#answerKey.publicKey)), alg: "ECDH-ES", use: "enc" };
      jwk.kid = await jose.calculateJwkThumbprint(jwk);
      body.credential_response_encryption = { jwk, enc: this.enc };
    }
    if (!this.requestEncryption) return { ...options, body: JSON.stringify(body) };
    const key = this.#metadata.credential_request_encryption.jwks.keys[0];
    const header = { alg: key.alg ?? "ECDH-ES", enc: this.enc, kid: key.kid };
    const jwe = await new jose.CompactEncrypt(new TextEncoder().encode(JSON.stringify(body)))
      .setProtectedHeader(header)
      .encrypt(await jose.importJWK(key, header.alg));
    return { ...options, headers: { ...options.headers, "Content-Type": "application/jwt" }, body: jwe };
  }

  async #open(response) {
    const { plaintext } = await jose.compactDecrypt(await response.text(), this.#answerKey.privateKey, {
      keyManagementAlgorithms: ["ECDH-ES"],
      contentEncryptionAlgorithms: [this.enc],
    });
    const headers = new Headers(response.headers);
    headers.set("Content-Type", "application/json");
    return new Response(new TextDecoder().decode(plaintext), { status: response.status, headers });
  }
}

const isJwe = (response) => (response.headers.get("Content-Type") ?? "").startsWith("application/jwt");
