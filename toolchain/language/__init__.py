"""A small `pulumi-language-python` over the SDK, for machines where the vendor's does not come with the CLI."""
