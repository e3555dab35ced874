"""Who asks: the city's own check of what a card signed. Nothing here stores a certificate, a PIN or an
attribute.
"""
