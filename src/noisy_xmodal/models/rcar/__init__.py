"""RCAR: a cross-encoder that refurbishes its labels (Guo and Ding, FITEE 2023)."""
