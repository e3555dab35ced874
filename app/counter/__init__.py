"""The counter of the city in the demo: what its staff do that no phone may do (模擬/MOCK)."""
