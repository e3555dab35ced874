"""Claims: from a taxpayer record to the figures of a certificate and to the certificate's data.

Pure: no file (but its own tables), no network, no clock. It decides neither who may ask
(`app.registers.match`) nor how the page looks (`app.rendering`). All data it ever sees in this product are
模擬/MOCK.

One module for each noun: `record` (what comes in), `employment_income`, `pension_income`, `income`,
`relatives`, `deductions`, `adjustment_credit`, `income_levy`, `per_capita`, `exemption`,
`figures` (the walk through them), `refusals` and `decision` (who gets nothing, and the sentence),
`certificate_data` (certificate.json).
"""
