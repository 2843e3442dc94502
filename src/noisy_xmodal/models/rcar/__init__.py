"""RCAR: a cross-encoder trained with refurbished labels (Guo and Ding, FITEE 2023)."""
