"""Other tools' formats and protocols."""
