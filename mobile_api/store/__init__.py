"""The street door's store: random ids, hashes, ciphertext and times in whole minutes; nothing else
(`columns`).
"""
