"""Reset of a card's passwords (模擬/MOCK J-LIS and kiosk vendor): reserved in the app, done at a kiosk, or at the counter.

    app      four digits + face check ─▶ reservation, valid 24 hours     (signature password; the other way round too)
    kiosk    card + four digits + reservation ─▶ new password, tries full
    counter  both forgotten: staff look at documents, record only their kinds ─▶ new passwords

What the card takes is an authorisation signed by the card authority over the card's own challenge; nobody here ever
learns an old password. Which municipality lets its residents use the kiosk is a flag of delegation (facts domain.md 3.3).
Refused outside the demo profile.
"""
