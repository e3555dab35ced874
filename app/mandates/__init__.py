"""Mandates (電子委任状) on the worker's side: what phones say about them, and what the gate says happened.

The mandates themselves are kept and decided by the register gate (`app.registers.mandates`).
"""
