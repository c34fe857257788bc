from autotune.device import gpu_devices
from tests.two_studies import TRIALS, overlaps, run_two, turns


def test_two_studies_on_one_gpu_never_run_at_the_same_moment_and_take_turns(tmp_path, monkeypatch):
    device = gpu_devices()[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", device.uuid)
    spans = run_two("on_gpu", device, tmp_path, "--shared")  # this process may have used the GPU
    assert len({span.pid for span in spans}) >= 2
    assert {span.what for span in spans} == {"call", "body"}
    assert overlaps(spans) == []
    assert len(turns(spans)) >= TRIALS
