"""What is remembered: event log, texts, artefacts."""
