"""The city's register of recipients: who may be shown to a resident by name. Statements are signed and logged."""
