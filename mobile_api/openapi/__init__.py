"""The street door's own description: OpenAPI 3.1, one hand-kept part a room, served at /openapi.json (ADR 0018)."""
