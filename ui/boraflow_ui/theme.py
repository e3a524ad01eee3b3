"""The look: colours and sizes that Streamlit takes as settings. Our components read them as CSS variables."""

from __future__ import annotations

from typing import Any

_BOTH: dict[str, Any] = {
    "baseFontSize": 15,
    "baseRadius": "8px",
    "buttonRadius": "7px",
    "showWidgetBorder": True,
    "linkUnderline": False,
    "headingFontWeights": [650, 650, 600, 600, 600, 600],
}

_LIGHT: dict[str, Any] = {
    "primaryColor": "#5a48cf",
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f5f6f8",
    "textColor": "#1c2431",
    "borderColor": "#e2e6ec",
    "linkColor": "#4a39bd",
    "codeBackgroundColor": "#f5f6f8",
    "codeTextColor": "#1c2431",
    "redColor": "#d5343d",
    "orangeColor": "#dd7a2f",
    "yellowColor": "#c9941a",
    "greenColor": "#23895c",
    "blueColor": "#2c74d6",
    "violetColor": "#7c54dd",
    "grayColor": "#6b7687",
}

_DARK: dict[str, Any] = {
    "primaryColor": "#6c5ae0",
    "backgroundColor": "#13161d",
    "secondaryBackgroundColor": "#1b1f29",
    "textColor": "#e3e7ee",
    "borderColor": "#2c323f",
    "linkColor": "#a99df5",
    "codeBackgroundColor": "#1b1f29",
    "codeTextColor": "#e3e7ee",
    "redColor": "#f0686f",
    "orangeColor": "#f09a58",
    "yellowColor": "#e2b84a",
    "greenColor": "#4fbd8b",
    "blueColor": "#62a1f4",
    "violetColor": "#a583f5",
    "grayColor": "#97a1b3",
}


def options() -> dict[str, Any]:
    """Return the theme as Streamlit options."""
    out = {f"theme.{k}": v for k, v in _BOTH.items()}
    out |= {f"theme.light.{k}": v for k, v in _LIGHT.items()}
    out |= {f"theme.dark.{k}": v for k, v in _DARK.items()}
    return out
