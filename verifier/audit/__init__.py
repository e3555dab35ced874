"""The auditor of a log: reads everything it has published, recomputes it, and says what does not fit.

`findings` what can be found, `log_source` where the files come from, `walk` entries → tiles → root, `anchors` the
signed files of anchored checkpoints, `node` and `events` the chain's own record, `state` what is remembered between
two audits, `auditor` the whole of it. It judges a log, never a certificate: `verifier.verify` does that. Nothing
here knows a person: a log holds salted 32-byte commitments only.
"""
