"""The accuracy study: networks with SGS, without, and with controls."""
