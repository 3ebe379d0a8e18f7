"""Numbers formatted for tables, figures and messages."""

import math

VISIBLE_SPACE = {"\n": "↵", "\t": "→", "\r": "←"}  # signs for white space that cannot be seen
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_duration(seconds: float) -> str:
    """Return minutes and seconds, and hours from an hour on: 90 -> '1:30', 3723 -> '1:02:03'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: float) -> str:
    """Return three digits and a decimal prefix: 45600 -> '45.6k'."""
    for prefix in ("", "k", "M"):
        if number < 999.5:  # which is rounded up to a thousand
            return f"{number:.3g}{prefix}" if prefix else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}G"


def format_bytes(size: int) -> str:
    """Return a round number of bytes with the prefix that fits: 32768 -> '32 KiB'."""
    for base, prefixes in ((1024, ("KiB", "MiB", "GiB")), (1000, ("kB", "MB", "GB"))):
        power = 0
        number = size
        while number and number % base == 0 and power < len(prefixes):
            number //= base
            power += 1
        if power:
            return f"{number:,} {prefixes[power - 1]}"
    return f"{size:,} bytes"


def format_size(size: int) -> str:
    """Return bytes to three digits with a decimal unit: 1234567 -> '1.23 MB'."""
    number = float(size)
    for unit in ("B", "kB", "MB"):
        if number < 999.5:  # which is rounded up to a thousand
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"


def format_age(seconds: float) -> str:
    """Return a time in its largest unit, rounded down: 5400 -> '1 h'; of clocks ahead '0 s'."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:,.0f} {unit}"
    return f"{max(0, int(seconds))} s"


def format_tick(value: float) -> str:
    """Return the label of a tick: 4096 -> '4,096', 20000 -> '20k', 0.00001 -> '10⁻⁵'."""
    size = abs(value)
    if not size:
        return "0"
    if size < 9.99e-4:
        power = math.floor(math.log10(size) + 1e-9)
        factor = f"{value / 10**power:.3g}"
        return ("" if factor == "1" else f"{factor}·") + "10" + str(power).translate(SUPERSCRIPT)
    if size >= 1e18:
        return f"{value:.0e}".replace("-", "−")
    power = max(0, math.floor(math.log10(size) + 1e-9) // 3) if size >= 10_000 else 0
    return f"{value / 1000**power:,.6g}".replace("-", "−") + " kMGTPE"[power].strip()


def format_number(value: float | None) -> str:
    """Return a number of a table: whole if it is, else to four digits; a dash for None."""
    if value is None:
        return "–"
    if value == int(value) or abs(value) >= 10_000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return text.replace("-", "−")


def format_with_interval(value: float, low: float, high: float) -> tuple[str, str]:
    """Return a number and its interval, both to two digits of half the interval.

    There are at most four decimals: (0.0312, 0.018, 0.044) -> ('0.031', '0.018 to 0.044').
    """
    half = (high - low) / 2
    decimals = min(4, max(0, 1 - math.floor(math.log10(half)))) if half > 0 else 4
    # Without a sign before zero.
    texts = [f"{round(number, decimals) + 0.0:,.{decimals}f}" for number in (value, low, high)]
    text, from_, to = (text.replace("-", "−") for text in texts)
    return text, f"{from_} to {to}"


def format_fixed(value: float | None) -> str:
    """Return four decimals; a dash for None."""
    return "-" if value is None else f"{value:.4f}"


def format_signed(value: float) -> str:
    """Return two decimals with a sign: -0.5 -> '−0.50'."""
    return f"{value:+.2f}".replace("-", "−")


def pluralize(count: int, noun: str) -> str:
    """Return the count and its noun: (1, 'seed') -> '1 seed', (6, 'seed') -> '6 seeds'."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
