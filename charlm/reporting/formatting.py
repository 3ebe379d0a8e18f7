"""Numbers as people read them, on the axes of figures and in tables."""

import math


def format_duration(seconds: float) -> str:
    """90 -> '1:30'; '1:02:03' from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_count(number: float) -> str:
    """45600 -> '45.6k'."""
    for unit in ("", "k", "M"):
        if number < 999.5:  # which is rounded up to a thousand
            return f"{number:.3g}{unit}" if unit else f"{number:.0f}"
        number /= 1000
    return f"{number:.3g}G"


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_tick(value: float) -> str:
    """4096 -> '4,096'; 20000 -> '20k'; 0.00001 -> '10⁻⁵'; 1e24 -> '1e+24'."""
    size = abs(value)
    if not size:
        return "0"
    if size < 9.99e-4:
        power = math.floor(math.log10(size) + 1e-9)
        times = f"{value / 10**power:.3g}"
        return ("" if times == "1" else f"{times}·") + "10" + str(power).translate(SUPERSCRIPT)
    if size >= 1e18:
        return f"{value:.0e}".replace("-", "−")
    power = max(0, math.floor(math.log10(size) + 1e-9) // 3) if size >= 10_000 else 0
    return f"{value / 1000**power:,.6g}".replace("-", "−") + " kMGTPE"[power].strip()


def format_number(value: float | None) -> str:
    """A number of a table: whole if it is, else to four digits."""
    if value is None:
        return "–"
    if value == int(value) or abs(value) >= 10_000:
        said = f"{value:,.0f}"
    else:
        said = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return said.replace("-", "−")
