"""How far two sets of pictures are apart, from their features; the formulas are torch-fidelity's own functions.

Features are (N, F) tensors or arrays, one row per picture, of any float type; everything is computed in float64 on the
CPU. A number can be compared with another only where features, number of pictures and parameters are the same.
"""

from i2i.errors import UserError
from i2i.metrics.vectors import matrix

FLOOR = -700.0  # log-probabilities below it are lifted to it: exp(-700) is still above 0 in float64


def fid(real, fake) -> dict:
    """Frechet distance of the Gaussians fitted to two sets (Heusel et al., 2017), in squared units of the features.

    |m_r - m_f|^2 + trace(S_r + S_f - 2 (S_r S_f)^(1/2)), m the mean and S the covariance (n - 1) of a set. Few pictures
    bias it upwards. Where a set has no more pictures than features its covariance has no full rank: the number is
    still given, and a note says so.

    Args:
        real, fake: (N, F) and (M, F), at least two rows each.

    Returns:
        {"fid", "count_real", "count_fake", "features", "rank_deficient": bool, "note": None or the words}.

    Raises:
        UserError: fewer than two pictures, another shape, NaN or infinity.
    """
    import torch
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    real, fake = _pair(real, fake, least=2)
    size = real.shape[1]
    if size == 1:  # a covariance of one feature comes back without axes; a constant beside it adds nothing
        real, fake = (torch.nn.functional.pad(features, (0, 1)) for features in (real, fake))
    found = fid_statistics_to_metric(*map(fid_features_to_statistics, (real, fake)), verbose=False)
    few = min(len(real), len(fake)) <= size
    note = (
        f"{min(len(real), len(fake))} pictures for {size} features: the covariance is rank-deficient and the distance "
        "biased; compare it only with figures of as many pictures"
    )
    return {
        "fid": float(found[KEY_METRIC_FID]),
        **_counts(real, fake),
        "features": size,
        "rank_deficient": few,
        "note": note if few else None,
    }


def kid(real, fake, *, subsets: int = 100, subset_size: int | None = None, seed: int = 0) -> dict:
    """Kernel distance (Binkowski et al., 2018): the unbiased squared MMD under k(x, y) = (x.y / F + 1)^3, no unit.

    The mean over `subsets` draws of `subset_size` pictures of each set, without replacement within a draw. Unbiased: it
    can fall below 0 where the sets are alike, and few pictures only make it less certain.

    Args:
        real, fake: (N, F) and (M, F), at least four rows each.
        subset_size: None takes min(1000, min(N, M) // 2): the usual 1000 where there are enough pictures, else half
            of the smaller set, so that the draws differ.
        seed: of the draws.

    Returns:
        {"mean", "std": of the draws' values, not an error of the mean, "subsets", "subset_size", "seed",
        "count_real", "count_fake", "features"}.

    Raises:
        UserError: a subset larger than a set or smaller than 2, fewer than one subset, another shape, NaN or infinity.
    """
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    real, fake = _pair(real, fake, least=4 if subset_size is None else 2)
    fewest = min(len(real), len(fake))
    if subset_size is None:
        subset_size = min(1000, fewest // 2)
    if not 2 <= subset_size <= fewest:
        raise UserError(f"the subset size is {subset_size}: it must be from 2 to {fewest}, the smaller set's pictures")
    if subsets < 1:
        raise UserError(f"subsets is {subsets}: draw at least 1")
    found = kid_features_to_metric(
        fake, real, kid_subsets=subsets, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return {
        "mean": float(found[KEY_METRIC_KID_MEAN]),
        "std": float(found[KEY_METRIC_KID_STD]),
        "subsets": subsets,
        "subset_size": subset_size,
        "seed": seed,
        **_counts(real, fake),
        "features": real.shape[1],
    }


def inception_score(values, *, probabilities: bool = False, splits: int = 10, seed: int = 0) -> dict:
    """exp(mean_x KL(p(y | x) || p(y))) of a classifier's answers (Salimans et al., 2016): 1 to the number of classes.

    The pictures are shuffled and split; p(y) is the mean of a split. The score grows with the pictures of a split.

    Args:
        values: (N, K), the classifier's logits; with `probabilities`, rows of at least 0 with a sum of 1.
        splits: how many parts, each of at least two pictures.
        seed: of the shuffle.

    Returns:
        {"mean", "std": over the splits, "splits", "seed", "count", "classes"}.

    Raises:
        UserError: too few pictures for the splits, rows that are no probabilities, another shape, NaN or infinity.
    """
    import torch
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    values = matrix("probabilities" if probabilities else "logits", values, dtype=torch.float64).cpu()
    count, classes = values.shape
    if splits < 1 or count < 2 * splits:
        raise UserError(f"{count} pictures in {splits} splits: give at least 1 split and 2 pictures for each")
    if probabilities and ((values < 0).any() or ((values.sum(dim=1) - 1).abs() > 1e-3).any()):
        raise UserError("a row is no probability distribution: give numbers of at least 0 with a sum of 1, or logits")
    logs = values.log() if probabilities else values.log_softmax(dim=1)
    found = isc_features_to_metric(logs.clamp(min=FLOOR), splits, shuffle=True, rng_seed=seed)
    return {
        "mean": float(found[KEY_METRIC_ISC_MEAN]),
        "std": float(found[KEY_METRIC_ISC_STD]),
        "splits": splits,
        "seed": seed,
        "count": count,
        "classes": classes,
    }


def precision_recall(real, fake, *, k: int = 3) -> dict:
    """Precision and recall of manifolds of k nearest neighbours (Kynkaanniemi et al., 2019), each in [0, 1].

    Every picture of a set is the centre of a ball that reaches its k-th nearest neighbour in that set. Precision: the
    share of fake pictures inside some real picture's ball. Recall: of real pictures inside some fake picture's ball.
    f_score = 2 P R / (P + R), and 0 where both are 0.

    Args:
        real, fake: (N, F) and (M, F), more than k rows each.

    Returns:
        {"precision", "recall", "f_score", "k", "count_real", "count_fake", "features"}.

    Raises:
        UserError: k below 1, no more than k pictures, another shape, NaN or infinity.
    """
    from torch_fidelity.metric_prc import prc_features_to_metric

    if k < 1:
        raise UserError(f"k is {k}: it must be at least 1")
    real, fake = _pair(real, fake, least=k + 1)
    # Distances by parts of 1000 rows: a whole matrix of 50,000 pictures would take 20 GB.
    found = prc_features_to_metric(
        fake, real, prc_neighborhood=k, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    parts = {name: float(found[name]) for name in ("precision", "recall", "f_score")}
    return {**parts, "k": k, **_counts(real, fake), "features": real.shape[1]}


def _pair(real, fake, *, least: int):
    import torch

    real = matrix("real features", real, dtype=torch.float64).cpu()
    fake = matrix("fake features", fake, width=real.shape[1], dtype=torch.float64).cpu()
    for name, features in (("real", real), ("fake", fake)):
        if len(features) < least:
            raise UserError(f"{len(features)} {name} pictures are too few: give at least {least}")
    return real, fake


def _counts(real, fake) -> dict[str, int]:
    return {"count_real": len(real), "count_fake": len(fake)}
