"""How a loss and its gradient are computed; `expected_loss` and `many_features_loss` are the public faces."""

from losses.exact import expected_loss
from losses.many_features import many_features_loss

__all__ = ["expected_loss", "many_features_loss"]
