"""Exact inputs and hidden activations of a stored model, for tools that train on activations."""

import torch
from jaxtyping import Float
from torch import Tensor

from checks import check_seed
from interop.exported import check_one_instance


class Activations:
    """Inputs of a stored model and its hidden activations, drawn from the model's distribution.

    SAELens accepts them in place of its own generators: `sample` and `sample_with_features` are
    methods of its SyntheticModel, and `features` is what it calls an activations generator.

        train_toy_sae(sae, synthetic_model.feature_dict, Activations(stored).features)
    """

    def __init__(self, stored, seed=0):
        """Prepare the draws.

        Args:
            stored: A model of one instance, as `storage.read` returns it.
            seed: Whole number from which all rows are drawn.

        Raises:
            ValueError: If the model has several instances, or its distribution is unknown.
        """
        check_one_instance(stored)
        seed = check_seed(seed)
        if stored.distribution is None:
            raise ValueError("distribution: expected one in the model's config, got None")
        self.model = stored.model
        self.distribution = stored.distribution
        self.generator = torch.Generator().manual_seed(seed)

    def sample(self, batch_size) -> Float[Tensor, "batch hidden"]:
        """Draw hidden activations, as float32."""
        h, _ = self.sample_with_features(batch_size)
        return h

    @torch.no_grad()
    def sample_with_features(
        self, batch_size
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch features"]]:
        """Draw hidden activations and the inputs that they belong to, as float32."""
        x = self._rows(batch_size)
        h = self.model.encode(x)
        return h[0].float(), x[0].float()

    def features(self, batch_size) -> Float[Tensor, "batch features"]:
        """Draw inputs, as float32."""
        return self._rows(batch_size)[0].float()

    def _rows(self, batch_size):
        """Draw inputs in the model's dtype."""
        return self.distribution.sample(batch_size, self.generator, dtype=self.model.b.dtype)
