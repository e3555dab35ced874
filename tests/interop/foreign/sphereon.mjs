// A second, independent wallet: Sphereon's client of OpenID4VCI draft 15 (pre-authorized code, one singular proof).
//
// Input: {offer, base, tx_code, configuration (default: the offer's first)}; output: {credentials, keys, notification_id, version, calls}.
// It has no fetch callback: it calls cross-fetch, which calls node-fetch; addresses are mapped there, before it loads.
import { createRequire } from "node:module";
import * as jose from "jose";
import { answer, question } from "./conversation.mjs";
import { translate } from "./transport.mjs";

// This client looks for metadata behind the issuer's path only (as drafts did until 11); RFC 8414 section 3.1 and
// OpenID4VCI 1.0 section 12.2.2 put it between host and path. What is not found behind is looked for there.
const inserted = (url) => url.replace(/^(https:\/\/[^/]+)(\/.+)(\/\.well-known\/[^/]+)$/, "$1$3$2");

await answer(async () => {
  const wish = await question();
  const calls = [];
  createRequire(import.meta.url)("node-fetch").default = async (address, options = {}) => {
    const url = String(address);
    let response = await fetch(translate(url, wish.base ?? {}), options);
    if (response.status === 404) response = await fetch(translate(inserted(url), wish.base ?? {}), options);
    calls.push({ method: options.method?.toUpperCase() ?? "GET", url, status: response.status });
    return response;
  };
  const { OpenID4VCIClientV1_0_15 } = await import("@sphereon/oid4vci-client");
  const pair = await jose.generateKeyPair("ES256", { extractable: true });
  const { kty, crv, x, y } = await jose.exportJWK(pair.publicKey);
  const client = await OpenID4VCIClientV1_0_15.fromURI({ uri: wish.offer, retrieveServerMetadata: true });
  await client.acquireAccessToken({ pin: wish.tx_code });
  const { credential_configuration_ids: offered } = client.credentialOffer.credential_offer;
  const given = await client.acquireCredentials({
    credentialConfigurationId: wish.configuration ?? offered[0],
    format: "dc+sd-jwt",
    alg: "ES256",
    jwk: { crv, kty, x, y },
    proofCallbacks: {
      signCallback: ({ header, payload }) =>
        new jose.SignJWT(payload).setProtectedHeader(header).sign(pair.privateKey),
    },
  });
  return {
    credentials: given.credentials?.map((one) => one.credential ?? one) ?? [given.credential],
    keys: [await jose.exportJWK(pair.privateKey)],
    notification_id: given.notification_id ?? null,
    version: String(client.version()),
    calls,
  };
});
