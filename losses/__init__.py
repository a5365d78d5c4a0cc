"""How a loss and its gradient are computed.

The public faces are `expected_loss` for few features and `many_features_loss` for any number.
"""

from losses.exact import expected_loss
from losses.many_features import many_features_loss

__all__ = ["expected_loss", "many_features_loss"]
