// The npm package dcql (DCQL of OpenID4VP 1.0): what would a wallet hand over for a query, and would a verifier take it?
//
// {query, vct, cases: [claims, …]} → {answers: [{satisfied, shown, complete}, …]}, one for each processed set of claims:
//   satisfied  the wallet can answer the query with these claims
//   shown      what it would disclose
//   complete   a verifier that was handed exactly these claims finds its query answered
import { DcqlPresentationResult, DcqlQuery } from "dcql";
import { answer, question } from "./conversation.mjs";

const held = (vct, claims) => ({
  credential_format: "dc+sd-jwt",
  vct,
  claims,
  cryptographic_holder_binding: true,
});

await answer(async () => {
  const { query, vct, cases } = await question();
  const parsed = DcqlQuery.parse(query);
  DcqlQuery.validate(parsed);
  const [{ id }] = parsed.credentials;
  const answers = cases.map((claims) => {
    const found = DcqlQuery.query(parsed, [held(vct, claims)]);
    const match = found.credential_matches[id];
    const chosen = match.success ? match.valid_credentials[0].claims : null;
    const handed = DcqlPresentationResult.fromDcqlPresentation({ [id]: [held(vct, claims)] }, { dcqlQuery: parsed });
    return {
      satisfied: found.can_be_satisfied,
      shown: chosen?.valid_claim_sets?.[0]?.output ?? null,
      complete: handed.can_be_satisfied,
    };
  });
  return { answers };
});
