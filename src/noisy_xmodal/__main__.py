"""`python -m noisy_xmodal audit ...` is `noisy-xmodal audit ...`, for launchers of processes."""

from noisy_xmodal_command import main

if __name__ == "__main__":
    main()
