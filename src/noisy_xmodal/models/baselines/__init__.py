"""The systems that DMCM compares with, one file each."""
