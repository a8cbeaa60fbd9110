"""One small module per step: read the ledger, call one pure function, append."""
