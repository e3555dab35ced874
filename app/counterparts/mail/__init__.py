"""模擬/MOCK mail: a real SMTP server on loopback that keeps every mail in a maildir and delivers none."""
