"""The page: draws a certificate from its data, the same bytes each time, and reads it back before release.

`renderer` draws (Typst; PDF/A-3a and PDF/UA-1), `page_text` reads the drawn page back and compares. What is
printed is derived from the data and nothing else. This room holds no key, asks nobody and stores nothing.
"""
