"""charlm: how well, and how far back, does each recurrent architecture remember?"""

__version__ = "0.1.0"
