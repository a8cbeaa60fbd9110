"""The corridor: config, components, ledger, workspace, steps."""
