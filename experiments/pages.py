"""Pages of which parts are written by commands, between markers: <!-- name --> and <!-- /name -->."""


def replaced(page: str, name: str, text: str) -> str:
    """The page with what stands between the markers of that name replaced by `text`, which ends with its own line break."""
    before, _, rest = page.partition(f"<!-- {name} -->\n")
    return f"{before}<!-- {name} -->\n{text}<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
