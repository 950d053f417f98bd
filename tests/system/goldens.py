"""Writes what the chart renders for each ci file: `make gen`, where helm is."""

from tests.system.helm import GOLDENS, ci_files, find_helm, golden_of, template


def main() -> None:
    """Write, and take away what no ci file makes any more."""
    if find_helm() is None:
        print("no helm here: the chart's golden manifests are left as they are")  # noqa: T201
        return
    made = {golden_of(values): template("-f", str(values)).stdout for values in ci_files()}
    for path in set(GOLDENS.glob("*.yaml")) - set(made):
        path.unlink()
    for path, manifest in made.items():
        path.write_text(manifest)


if __name__ == "__main__":
    main()
