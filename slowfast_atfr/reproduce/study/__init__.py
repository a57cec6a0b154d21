"""Does similarity earn its place? Networks with SGS, without, and with controls."""
