"""The mock city 見本市 (模擬/MOCK): residents, households, addresses and tax records, made from a seed.

Nobody here exists. The same seed gives the same city, household by household, so that a small city is the
beginning of a large one. `generator.generate_city` is the door; `cases` are the hand-made residents that
stand for every deciding case and always come first.
"""
