"""Selection: who of a study's configurations wins, on which evidence; measuring and storing it happen elsewhere."""

from __future__ import annotations

from autotune.selection.contest import Contest, is_disturbed
from autotune.selection.evidence import Evidence
from autotune.selection.finalists import finalists
from autotune.selection.judgement import judge, tuned_config, unseen

__all__ = ["Contest", "Evidence", "finalists", "is_disturbed", "judge", "tuned_config", "unseen"]
