// A wallet of somebody else: the OpenID4VCI 1.0 client library @openid4vc/openid4vci (oid4vc-ts), driven by a test.
//
// The first line of input is what to do; the last line of output is {credentials, keys, …} or {error, message, …}.
//   offer          "openid-credential-offer://…" or an https link that carries or names an offer
//   base           {"https://door.example": "http://127.0.0.1:1234"}: where the public addresses really listen
//   flow           "pre-authorized" (default) | "authorization-code"
//   tx_code, configuration (default: the offer's first), batch (proofs, each by a fresh key; default 1),
//   dpop, notify (an event, or true = credential_accepted), request_encryption, response_encryption, enc
//   anchors        [PEM]: ask for signed metadata and check it
//   client_id, redirect_uri, provider {jwk, x5c, issuer}: the wallet's maker (模擬); without it no attestation
//   attest_redirect: false: the attestation does not name redirect_uri
//   attest_client, attest_keys: false leaves one of the two attestations out;  one_proof: true proves the first key only,
//                  its attestation names all of them
//   nonces         false: prove without asking for a nonce;  polls (default 20): how often a deferred one is asked for
// For a wallet that behaves badly:
//   nonce          use this one;  show_bearer: true shows the token without the key it is bound to
//   notification_id  report on this one instead of its own
// In the authorization-code flow it prints {authorization_url} and waits for a line {redirect_url}.
import { Oauth2Client, clientAuthenticationAnonymous, clientAuthenticationClientAttestationJwt,
  setGlobalConfig } from "@openid4vc/oauth2";
import { Openid4vciClient, determineAuthorizationServerForCredentialOffer } from "@openid4vc/openid4vci";
import { randomBytes } from "node:crypto";
import { answer, question, say } from "./conversation.mjs";
import { Transport } from "./transport.mjs";
import { Keyring, WalletMaker } from "./wallet_keys.mjs";

// The addresses are https; only what the test maps them to is not.
setGlobalConfig({ allowInsecureUrls: false });

const PRE_AUTHORIZED = "urn:ietf:params:oauth:grant-type:pre-authorized_code";
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

class Wallet {
  constructor(wish) {
    this.wish = wish;
    this.keys = new Keyring();
    this.transport = new Transport({
      base: wish.base ?? {},
      requestEncryption: wish.request_encryption,
      responseEncryption: wish.response_encryption,
      enc: wish.enc ?? "A256GCM",
      signedMetadata: Boolean(wish.anchors),
    });
    this.maker = wish.provider ? new WalletMaker(wish.provider) : null;
    this.clientId = wish.client_id ?? "https://wallet.example/akashi-test";
    this.redirectUri = wish.redirect_uri ?? "https://wallet.example/callback";
  }

  async start() {
    const common = { fetch: this.transport.fetch, anchors: this.wish.anchors };
    let clientAuthentication = clientAuthenticationAnonymous();
    if (this.maker && this.wish.attest_client !== false) {
      const instance = await this.keys.add();
      clientAuthentication = clientAuthenticationClientAttestationJwt({
        callbacks: this.keys.callbacks(common),
        clientAttestationJwt: await this.maker.attestClient(
          this.clientId, instance.publicJwk, this.wish.attest_redirect === false ? null : [this.redirectUri]),
      });
    }
    this.callbacks = this.keys.callbacks({ ...common, clientAuthentication });
    this.client = new Openid4vciClient({ callbacks: this.callbacks });
    this.dpop = this.wish.dpop ? { signer: Keyring.signer(await this.keys.add()) } : undefined;
    this.offer = await this.client.resolveCredentialOffer(this.wish.offer);
    this.metadata = await this.client.resolveIssuerMetadata(this.offer.credential_issuer);
    await this.transport.know(this.metadata.credentialIssuer);
    this.configuration = this.wish.configuration ?? this.offer.credential_configuration_ids[0];
  }

  async accessToken() {
    const common = { credentialOffer: this.offer, issuerMetadata: this.metadata, dpop: this.dpop };
    if (this.wish.flow === "authorization-code") {
      const granted = await this.authorize();
      return this.client.retrieveAuthorizationCodeAccessTokenFromOffer({ ...common, ...granted });
    }
    return this.client.retrievePreAuthorizedCodeAccessTokenFromOffer({ ...common, txCode: this.wish.tx_code });
  }

  /** PAR, then the browser's part is the test's. initiateAuthorization of 0.4.6 drops `state`, so not that one. */
  async authorize() {
    const grant = this.offer.grants?.authorization_code ?? {};
    const name = determineAuthorizationServerForCredentialOffer({
      grantAuthorizationServer: grant.authorization_server,
      issuerMetadata: this.metadata,
    });
    const server = this.metadata.authorizationServers.find((known) => known.issuer === name);
    const state = randomBytes(16).toString("base64url");
    const { redirectUri } = this;
    const scope = this.metadata.credentialIssuer.credential_configurations_supported[this.configuration].scope;
    const begun = await new Oauth2Client({ callbacks: this.callbacks }).createAuthorizationRequestUrl({
      authorizationServerMetadata: server,
      clientId: this.clientId,
      redirectUri,
      scope,
      state,
      dpop: this.dpop,
      additionalRequestPayload: grant.issuer_state ? { issuer_state: grant.issuer_state } : {},
    });
    this.dpop = begun.dpop ?? this.dpop;
    say({ authorization_url: begun.authorizationRequestUrl });
    const back = this.client.parseAndVerifyAuthorizationResponseRedirectUrl({
      url: (await question()).redirect_url,
      authorizationServerMetadata: server,
    });
    if (back.error) throw Object.assign(new Error("the login was refused"), { errorResponse: back });
    if (back.state !== state) throw new Error("the state is another");
    return { authorizationCode: back.code, pkceCodeVerifier: begun.pkce?.codeVerifier, redirectUri };
  }

  /** One proof for each of `batch` fresh keys; a nonce serves one request. */
  async prove(count) {
    const keys = await Promise.all(Array.from({ length: count }, () => this.keys.add()));
    const nonce = this.nonce = this.wish.nonces === false ? undefined
      : this.wish.nonce ?? (await this.client.requestNonce({ issuerMetadata: this.metadata })).c_nonce;
    const attested = this.maker && this.wish.attest_keys !== false;
    const keyAttestationJwt = attested
      ? await this.maker.attestKeys(keys.map((key) => key.publicJwk), nonce) : undefined;
    const proofs = [];
    for (const key of this.wish.one_proof ? keys.slice(0, 1) : keys) {
      const { jwt } = await this.client.createCredentialRequestJwtProof({
        issuerMetadata: this.metadata,
        credentialConfigurationId: this.configuration,
        signer: Keyring.signer(key),
        nonce,
        keyAttestationJwt,
        // anonymous access has no client id to name (OpenID4VCI 1.0 Appendix F.1)
        clientId: this.wish.flow === "authorization-code" ? this.clientId : undefined,
      });
      proofs.push(jwt);
    }
    return { keys, proofs };
  }

  async credentials(token) {
    const { keys, proofs } = await this.prove(this.wish.batch ?? 1);
    const access = { issuerMetadata: this.metadata, accessToken: token.access_token, dpop: this.dpop };
    const first = await this.client.retrieveCredentials({
      ...access, credentialConfigurationId: this.configuration, proofs: { jwt: proofs },
    });
    if (first.dpop?.nonce) access.dpop = this.dpop = { ...this.dpop, nonce: first.dpop.nonce };
    let given = first.credentialResponse;
    let polls = 0;
    while (given.transaction_id !== undefined) {
      if (polls++ >= (this.wish.polls ?? 20)) throw new Error("the credential never became ready");
      await pause(given.interval);
      const next = await this.client.retrieveDeferredCredentials({
        ...access, transactionId: given.transaction_id,
      });
      if (!next.ok) throw refused("deferred credential", next, next.deferredCredentialErrorResponseResult);
      given = next.deferredCredentialResponse;
    }
    return { given, polls, access, keys };
  }

  async run() {
    await this.start();
    const { accessTokenResponse: token, dpop, authorizationServer } = await this.accessToken();
    if (dpop) this.dpop = dpop;
    if (this.wish.show_bearer) this.dpop = undefined;
    const { given, polls, access, keys } = await this.credentials(token);
    let notification = null;
    if (this.wish.notify && given.notification_id) {
      const event = this.wish.notify === true ? "credential_accepted" : this.wish.notify;
      const sent = await this.client.sendNotification({
        ...access, notification: { notificationId: this.wish.notification_id ?? given.notification_id, event },
      });
      notification = { id: given.notification_id, status: sent.response.status };
    }
    return {
      credentials: given.credentials.map((one) => one.credential ?? one),
      keys: keys.map((key) => key.privateJwk),
      token_type: token.token_type,
      token_members: Object.keys(token).sort(),
      grant: this.wish.flow === "authorization-code" ? "authorization_code" : PRE_AUTHORIZED,
      authorization_server: authorizationServer,
      version: this.metadata.originalDraftVersion,
      signed_metadata: Boolean(this.metadata.signedCredentialIssuer),
      metadata: this.metadata.credentialIssuer,
      notification,
      nonce: this.nonce,
      polls,
      calls: this.transport.calls,
    };
  }
}

function refused(what, answer, result) {
  const error = new Error(`${what} refused with ${answer.response.status}`);
  return Object.assign(error, { errorResponse: result?.data });
}

await answer(async () => new Wallet(await question()).run());
