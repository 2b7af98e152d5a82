#!/usr/bin/env python3
"""gpu-torch.py: times of torch (cuBLAS, SDPA, torch.compile) for the shapes of Megalodon, as JSON on stdout.

Products of a 7B layer, chunk attention (d_qk 256, d_v 2048, chunk 2048 and 4096), CEMA and timestep norm, one
layer of the 7B shape, one step of decode. Medians over 20 runs between CUDA events after 5 warm-up runs.
"""
import json
import statistics
import sys

import torch

DEVICE = "cuda"
T, D, Z, V, F, H, N, G = 4096, 4096, 1024, 8192, 8192, 4, 16, 64


def milliseconds(function, runs=20):
    for _ in range(5):
        function()
    torch.cuda.synchronize()
    times = []
    for _ in range(runs):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        function()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop))
    return statistics.median(times)


def bf16(*shape):
    return torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16) * 0.05


ROWS = []


def add(name, function, flops=0, moved=0):
    try:
        ms = milliseconds(function)
    except RuntimeError as error:  # out of memory, an operator that this version lacks
        print(f"{name}: {error}", file=sys.stderr)
        return
    rate = f"{flops / ms * 1e-9:.1f} TFLOP/s" if flops else f"{moved / ms * 1e-9:.2f} TB/s"
    ROWS.append({"name": name, "milliseconds": ms, "flops": flops, "bytes": moved, "rate": rate})


def products():
    for name, n, k in (("v", V, D), ("z", Z, D), ("r", V, D), ("h", D, D + V), ("up", 2 * F, D), ("down", D, F)):
        x, w = bf16(T, k), bf16(n, k)
        add(f"product {name} {T}x{n}x{k}", lambda: x @ w.t(), flops=2 * T * n * k)
    for name, n, k in (("v", V, D), ("h", D, D + V), ("up", 2 * F, D)):
        x, w = bf16(1, k), bf16(n, k)
        add(f"decode product {name} 1x{n}x{k}", lambda: x @ w.t(), moved=2 * n * k)


def attention(q, k, v):
    # No fused kernel of torch takes heads this wide; this is what it falls back to.
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)


def attentions():
    for chunk in (2048, 4096):
        q, k, v = bf16(1, H, chunk, Z // H), bf16(1, H, chunk, Z // H), bf16(1, H, chunk, V // H)
        useful = 2 * H * (Z // H + V // H) * chunk * (chunk + 1) // 2
        add(f"attention chunk {chunk}, 4 heads, 256 and 2048", lambda: attention(q, k, v), flops=useful)


def cema(x, kernel):
    """The convolution by FFT, as the reference does it."""
    length = x.shape[-1]
    spectrum = torch.fft.rfft(x.float(), n=2 * length) * torch.fft.rfft(kernel, n=2 * length)
    return torch.fft.irfft(spectrum, n=2 * length)[..., :length].to(x.dtype)


def timestep_norm(x, weight, bias):
    b, t, d = x.shape
    groups = x.float().view(b, t, G, d // G)
    count = torch.arange(1, t + 1, device=x.device, dtype=torch.float32).view(1, t, 1) * (d // G)
    mean = groups.sum(-1).cumsum(1) / count
    square = groups.square().sum(-1).cumsum(1) / count
    rstd = (square - mean * mean).clamp_min(0).add(1e-5).rsqrt()
    y = (groups - mean[..., None]) * rstd[..., None]
    return (y.view(b, t, d) * (weight + 1) + bias).to(x.dtype)


def layer(weights, x):
    norm = timestep_norm(x, weights["tw"], weights["tb"])
    mx = cema(norm.transpose(1, 2), weights["kernel"]).transpose(1, 2) + norm
    mx = torch.nn.functional.rms_norm(mx, (D,))
    z = torch.nn.functional.linear(mx, weights["z"]).view(1, -1, H, Z // H)
    q = torch.nn.functional.rms_norm(z, (Z // H,)).transpose(1, 2)
    v = torch.nn.functional.silu(torch.nn.functional.linear(norm, weights["v"])).view(1, -1, H, V // H).transpose(1, 2)
    r = torch.nn.functional.silu(torch.nn.functional.linear(mx, weights["r"]))
    o = attention(q, q, v).transpose(1, 2).reshape(1, -1, V) * r
    y = x + torch.nn.functional.linear(torch.cat((mx, o), -1), weights["h"])
    f = torch.nn.functional.layer_norm(y, (D,))
    up, gate = torch.nn.functional.linear(f, weights["up"]).chunk(2, -1)
    return x + torch.nn.functional.linear(torch.nn.functional.silu(up) * gate, weights["down"])


def main():
    if not torch.cuda.is_available():
        sys.exit("gpu-torch: torch sees no GPU")
    torch.manual_seed(1)
    with torch.no_grad():
        products()
        attentions()
        x, kernel = bf16(1, D, T), torch.randn(D, T, device=DEVICE) * 0.01
        add(f"CEMA by FFT, {T} steps, {D} channels", lambda: cema(x, kernel), moved=4 * T * D)
        rows, weight, bias = bf16(1, T, D), torch.zeros(D, device=DEVICE), torch.zeros(D, device=DEVICE)
        compiled = torch.compile(timestep_norm)
        add(f"timestep norm, torch.compile, {T} steps", lambda: compiled(rows, weight, bias), moved=4 * T * D)
        weights = {"tw": weight, "tb": bias, "kernel": kernel, "z": bf16(Z, D), "v": bf16(V, D), "r": bf16(V, D),
                   "h": bf16(D, D + V), "up": bf16(2 * F, D), "down": bf16(D, F)}
        count = sum(w.numel() for name, w in weights.items() if name in ("z", "v", "r", "h", "up", "down"))
        flops = 2 * T * count + 2 * H * (Z // H + V // H) * T * (T + 1) // 2
        add(f"7B layer, {T} steps, eager", lambda: layer(weights, rows), flops=flops)
        fast = torch.compile(layer)
        add(f"7B layer, {T} steps, torch.compile", lambda: fast(weights, rows), flops=flops)
        one = bf16(1, 1, D)
        add("7B layer, one step, eager (no state)", lambda: layer(weights, one), moved=2 * count)
    print(json.dumps({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "rows": ROWS}, indent=1))


if __name__ == "__main__":
    main()
