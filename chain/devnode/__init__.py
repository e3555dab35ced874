"""The embedded Ethereum chain for laptops and drills: 模擬/MOCK, one operator, proves nothing against that
operator.
"""
