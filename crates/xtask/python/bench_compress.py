"""Compresses a package with coremltools, as a user's script does: PACKAGE OUTPUT SCHEME."""

import sys

import coremltools as ct
import coremltools.optimize.coreml as cto

SCHEMES = {
    "int8": (cto.linear_quantize_weights, lambda: cto.OpLinearQuantizerConfig(mode="linear_symmetric")),
    "int4-blocks": (
        cto.linear_quantize_weights,
        lambda: cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=32
        ),
    ),
    "palette-4": (cto.palettize_weights, lambda: cto.OpPalettizerConfig(mode="kmeans", nbits=4)),
    "palette-4-groups": (
        cto.palettize_weights,
        lambda: cto.OpPalettizerConfig(
            mode="kmeans", nbits=4, granularity="per_grouped_channel", group_size=16
        ),
    ),
    "uniform-4": (cto.palettize_weights, lambda: cto.OpPalettizerConfig(mode="uniform", nbits=4)),
    "prune": (cto.prune_weights, lambda: cto.OpMagnitudePrunerConfig(target_sparsity=0.5)),
}


def main(package, output, scheme):
    way, config = SCHEMES[scheme]
    model = ct.models.MLModel(package, skip_model_load=True)
    way(model, cto.OptimizationConfig(global_config=config())).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
