"""``xiaod show``: print the effective configuration, defaults included, secrets masked."""

import argparse

from xiaod.cli.commands.options import DEFAULT_CONFIG, add_config, add_shard, refuse

HELP = "print the effective configuration, defaults included, secrets masked"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add its arguments."""
    add_config(parser)
    add_shard(parser)
    parser.add_argument("--format", choices=["yaml", "json"], default="yaml")


def run(options: argparse.Namespace) -> int:
    """Print the whole configuration."""
    import json

    from xiaod.config.loader import ConfigError, load_config, yaml_text
    from xiaod.config.per_shard import chosen_shard, is_named, place
    from xiaod.config.redact import masked
    from xiaod.process.exit_status import ExitCode

    path = options.config or DEFAULT_CONFIG
    try:
        config = load_config(path)
        # Shown is what gives the same when it is read again, so folders and port stand as in the file.
        placed = config
        if is_named(config, options.shard):
            placed = place(config, chosen_shard(config, options.shard))
            config = config.model_copy(update={"shard": placed.shard})
    except ConfigError as error:
        return refuse(error)
    if options.format == "json":
        print(json.dumps(masked(config), indent=2, ensure_ascii=False))
    else:
        print(f"# {path} as it takes effect: every key, defaults included; secrets are masked.")
        if placed.shard.count > 1 and placed is not config:
            print(
                f"# Shard {placed.shard.index} of {placed.shard.count}: state in {placed.state.folder}, "
                f"HTTP on port {placed.http.port}, {{shard}} is {placed.shard.index}."
            )
        print(yaml_text(masked(config)), end="")
    return ExitCode.OK
