# mypy: ignore-errors
"""Run by __main__.py with the Python that has torch and litert-torch: train forecasters, convert them, roll them out.

    python program.py FOLDER [NAME ...]

For each model: FOLDER/NAME.tflite, as litert-torch writes it, and FOLDER/NAME.npz: the windows that rollouts start
from, what torch itself makes of them, and what followed. FOLDER/series.csv has all samples. It imports nothing of this
repository, and a model that cannot be converted is a line of FOLDER/failed.txt.
"""

import sys
from pathlib import Path

import litert_torch
import numpy as np
import torch
from torch import nn
from torch.nn import functional

WINDOW, CHANNELS, BLOCK = 48, 3, 12
ROWS, TRAIN = 4000, 2600
HORIZON, ROLLOUTS, STEPS, BATCH = 48, 16, 500, 64


def series():
    """(ROWS, CHANNELS), scaled by its training part: daily and weekly waves that move each other, with noise."""
    rng = np.random.default_rng(0)
    t = np.arange(ROWS)
    day, week = np.sin(2 * np.pi * t / 24), np.sin(2 * np.pi * t / 168)
    columns = [day + 0.4 * week, -np.roll(day, 3) * (1 + 0.3 * week), 0.5 * np.roll(day, 6) + week]
    made = np.stack([column + rng.normal(0, 0.1, ROWS) for column in columns], axis=1)
    return ((made - made[:TRAIN].mean(0)) / made[:TRAIN].std(0)).astype(np.float32)


class Recurrent(nn.Module):
    """The last output of a recurrent layer, and a dense layer."""

    def __init__(self, cell, steps=1, units=24, **options):
        super().__init__()
        self.cell = cell(CHANNELS, units, batch_first=True, **options)
        self.out = nn.Linear(units * (2 if options.get("bidirectional") else 1), steps * CHANNELS)
        self.steps = steps

    def forward(self, x):
        y = self.out(self.cell(x)[0][:, -1])
        return y if self.steps == 1 else y.reshape(-1, self.steps, CHANNELS)


class Tcn(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        sizes = [CHANNELS, width, width, width]
        self.layers = nn.ModuleList([nn.Conv1d(n, width, 3, dilation=2**k) for k, n in enumerate(sizes)])
        self.skip, self.out = nn.Conv1d(CHANNELS, width, 1), nn.Linear(width, CHANNELS)

    def forward(self, x):
        y = x.transpose(1, 2)
        rest = self.skip(y)
        for k, layer in enumerate(self.layers):
            y = rest = rest + torch.relu(layer(functional.pad(y, (2 * 2**k, 0))))
        return self.out(y[..., -1])


class WaveNet(nn.Module):
    """Gated dilated convolutions, whose outputs are summed."""

    def __init__(self, width=12):
        super().__init__()
        self.first = nn.Conv1d(CHANNELS, width, 1)
        self.filters = nn.ModuleList([nn.Conv1d(width, width, 2, dilation=2**k) for k in range(4)])
        self.gates = nn.ModuleList([nn.Conv1d(width, width, 2, dilation=2**k) for k in range(4)])
        self.out = nn.Linear(width, CHANNELS)

    def forward(self, x):
        y, total = self.first(x.transpose(1, 2)), 0
        for k, (kept, gate) in enumerate(zip(self.filters, self.gates, strict=True)):
            padded = functional.pad(y, (2**k, 0))
            made = torch.tanh(kept(padded)) * torch.sigmoid(gate(padded))
            total, y = total + made, y + made
        return self.out(torch.relu(total)[..., -1])


class Cnn(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv1d(CHANNELS, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 16, 3, padding=1, groups=16), nn.Conv1d(16, 24, 1), nn.BatchNorm1d(24), nn.Hardswish(),
            nn.Flatten(), nn.Linear(24 * 24, CHANNELS),
        )  # fmt: skip

    def forward(self, x):
        return super().forward(x.transpose(1, 2))


class DLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = nn.AvgPool1d(25, 1)
        self.trend, self.rest = nn.Linear(WINDOW, BLOCK), nn.Linear(WINDOW, BLOCK)

    def forward(self, x):
        padded = torch.cat([x[:, :1].repeat(1, 12, 1), x, x[:, -1:].repeat(1, 12, 1)], 1)
        trend = self.mean(padded.transpose(1, 2)).transpose(1, 2)
        return (self.trend(trend.transpose(1, 2)) + self.rest((x - trend).transpose(1, 2))).transpose(1, 2)


class NLinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WINDOW, BLOCK)

    def forward(self, x):
        last = x[:, -1:]
        return self.layer((x - last).transpose(1, 2)).transpose(1, 2) + last


def encoder(width, hidden, **options):
    layer = nn.TransformerEncoderLayer(width, 2, hidden, dropout=0.0, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)


def centred(x):
    """The window by its own mean and deviation, and both."""
    mean = x.mean(1, keepdim=True)
    deviation = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
    return (x - mean) / deviation, mean, deviation


class PatchTst(nn.Module):
    """Each channel by itself, in patches."""

    def __init__(self, width=16, patch=8):
        super().__init__()
        self.patch, count = patch, WINDOW // patch
        self.embed = nn.Linear(patch, width)
        self.places = nn.Parameter(torch.randn(1, count, width) * 0.02)
        self.encoder = encoder(width, 32, activation="gelu", norm_first=True)
        self.head = nn.Linear(width * count, BLOCK)

    def forward(self, x):
        y, mean, deviation = centred(x)
        patches = y.transpose(1, 2).reshape(-1, WINDOW // self.patch, self.patch)
        made = self.encoder(self.embed(patches) + self.places).reshape(-1, CHANNELS, self.head.in_features)
        return self.head(made).transpose(1, 2) * deviation + mean


class ITransformer(nn.Module):
    """Each channel's whole window is a token."""

    def __init__(self, width=24):
        super().__init__()
        self.embed, self.head = nn.Linear(WINDOW, width), nn.Linear(width, BLOCK)
        self.encoder = encoder(width, 48, activation="gelu")

    def forward(self, x):
        y, mean, deviation = centred(x)
        return self.head(self.encoder(self.embed(y.transpose(1, 2)))).transpose(1, 2) * deviation + mean


class Transformer(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.embed, self.out = nn.Linear(CHANNELS, width), nn.Linear(width, CHANNELS)
        self.places = nn.Parameter(torch.randn(1, WINDOW, width) * 0.1)
        self.encoder = encoder(width, 32)

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.places)[:, -1])


class TsMixer(nn.Module):
    def __init__(self, blocks=2):
        super().__init__()
        self.over_time = nn.ModuleList([nn.Linear(WINDOW, WINDOW) for _ in range(blocks)])
        self.over_channels = nn.ModuleList(
            [nn.Sequential(nn.Linear(CHANNELS, 16), nn.ReLU(), nn.Linear(16, CHANNELS)) for _ in range(blocks)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(CHANNELS) for _ in range(2 * blocks)])
        self.out = nn.Linear(WINDOW, BLOCK)

    def forward(self, x):
        for k, (time, channels) in enumerate(zip(self.over_time, self.over_channels, strict=True)):
            x = x + torch.relu(time(self.norms[2 * k](x).transpose(1, 2))).transpose(1, 2)
            x = x + channels(self.norms[2 * k + 1](x))
        return self.out(x.transpose(1, 2)).transpose(1, 2)


class NHits(nn.Module):
    """Stacks that see the window pooled, and say coarse parts of the forecast."""

    POOLS = (8, 4, 1)

    def __init__(self, width=48):
        super().__init__()
        self.bodies = nn.ModuleList(
            [nn.Sequential(nn.Linear(WINDOW // k * CHANNELS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
             for k in self.POOLS]
        )  # fmt: skip
        self.back = nn.ModuleList([nn.Linear(width, WINDOW * CHANNELS) for _ in self.POOLS])
        self.ahead = nn.ModuleList([nn.Linear(width, max(BLOCK // k, 1) * CHANNELS) for k in self.POOLS])

    def forward(self, x):
        rest, forecast = x, 0
        for pool, body, back, ahead in zip(self.POOLS, self.bodies, self.back, self.ahead, strict=True):
            h = body(functional.max_pool1d(rest.transpose(1, 2), pool, pool).flatten(1))
            rest = rest - back(h).reshape(-1, WINDOW, CHANNELS)
            coarse = ahead(h).reshape(h.shape[0], CHANNELS, -1)
            forecast = forecast + functional.interpolate(coarse, size=BLOCK, mode="nearest").transpose(1, 2)
        return forecast


class NBeats(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        size = WINDOW * CHANNELS
        self.bodies = nn.ModuleList(
            [nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()) for _ in range(2)]
        )
        self.back = nn.ModuleList([nn.Linear(width, size) for _ in range(2)])
        self.ahead = nn.ModuleList([nn.Linear(width, CHANNELS) for _ in range(2)])

    def forward(self, x):
        rest, forecast = x.flatten(1), 0
        for body, back, ahead in zip(self.bodies, self.back, self.ahead, strict=True):
            h = body(rest)
            rest, forecast = rest - back(h), forecast + ahead(h)
        return forecast


class Residual(nn.Module):
    def __init__(self, size, hidden, out):
        super().__init__()
        self.a, self.b, self.skip = nn.Linear(size, hidden), nn.Linear(hidden, out), nn.Linear(size, out)
        self.norm = nn.LayerNorm(out)

    def forward(self, x):
        return self.norm(self.b(torch.relu(self.a(x))) + self.skip(x))


class Tide(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.encode, self.decode = Residual(WINDOW, width, width), Residual(width, width, BLOCK * 4)
        self.each, self.skip = Residual(4, 16, 4), nn.Linear(WINDOW, BLOCK)
        self.out = nn.Linear(4, 1)

    def forward(self, x):
        y = x.transpose(1, 2)
        decoded = self.decode(self.encode(y)).reshape(-1, CHANNELS, BLOCK, 4)
        return (self.out(self.each(decoded))[..., 0] + self.skip(y)).transpose(1, 2)


class ConvLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, 12, 5, stride=2, padding=2)
        self.cell, self.out = nn.LSTM(12, 16, batch_first=True), nn.Linear(16, CHANNELS)

    def forward(self, x):
        return self.out(self.cell(torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2))[0][:, -1])


class AttentionPool(nn.Module):
    """A GRU's outputs, weighed by a softmax over time."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRU(CHANNELS, 16, batch_first=True)
        self.weigh, self.out = nn.Linear(16, 1), nn.Linear(16, CHANNELS)

    def forward(self, x):
        h = self.cell(x)[0]
        return self.out((torch.softmax(self.weigh(h), 1) * h).sum(1))


class Activations(nn.Sequential):
    """A dense network with an activation of each kind."""

    def __init__(self):
        super().__init__(
            nn.Flatten(), nn.Linear(WINDOW * CHANNELS, 32), nn.SiLU(), nn.Linear(32, 32), nn.Softplus(),
            nn.LayerNorm(32), nn.Linear(32, 32), nn.ELU(), nn.PReLU(), nn.Linear(32, CHANNELS),
        )  # fmt: skip


class RootMeanSquare(nn.Module):
    """RMSNorm, and a residual on the last sample."""

    def __init__(self):
        super().__init__()
        self.norm, self.a, self.b = nn.RMSNorm(CHANNELS), nn.Linear(WINDOW * CHANNELS, 24), nn.Linear(24, CHANNELS)

    def forward(self, x):
        return self.b(functional.leaky_relu(self.a(self.norm(x).flatten(1)), 0.1)) + x[:, -1]


MODELS = {
    "LSTM": lambda: Recurrent(nn.LSTM),
    "LSTM, two layers": lambda: Recurrent(nn.LSTM, num_layers=2, units=16),
    "LSTM, both ways": lambda: Recurrent(nn.LSTM, bidirectional=True, units=8),
    "GRU": lambda: Recurrent(nn.GRU),
    "GRU, a block": lambda: Recurrent(nn.GRU, steps=BLOCK),
    "RNN": lambda: Recurrent(nn.RNN),
    "TCN": Tcn,
    "WaveNet": WaveNet,
    "CNN": Cnn,
    "convolution and LSTM": ConvLstm,
    "GRU, attention pooling": AttentionPool,
    "DLinear": DLinear,
    "NLinear": NLinear,
    "PatchTST": PatchTst,
    "iTransformer": ITransformer,
    "Transformer": Transformer,
    "TSMixer": TsMixer,
    "N-HiTS": NHits,
    "N-BEATS": NBeats,
    "TiDE": Tide,
    "dense, all activations": Activations,
    "dense, RMSNorm": RootMeanSquare,
}


def train(model, data):
    rng, optimiser = np.random.default_rng(0), torch.optim.Adam(model.parameters(), 3e-3)
    steps = model(torch.zeros(2, WINDOW, CHANNELS)).reshape(2, -1, CHANNELS).shape[1]
    for _ in range(STEPS):
        starts = rng.integers(0, TRAIN - WINDOW - steps, BATCH)
        x = torch.tensor(np.stack([data[s : s + WINDOW] for s in starts]))
        y = torch.tensor(np.stack([data[s + WINDOW : s + WINDOW + steps] for s in starts]))
        loss = functional.mse_loss(model(x).reshape(y.shape), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def rollouts(model, seeds):
    """(N, HORIZON, CHANNELS): what the model makes of windows (N, WINDOW, CHANNELS) and of its own forecasts."""
    path = torch.tensor(seeds)
    while path.shape[1] < WINDOW + HORIZON:
        with torch.no_grad():
            made = torch.cat([model(row[None]).reshape(1, -1, CHANNELS) for row in path[:, -WINDOW:]])
        path = torch.cat([path, made], 1)
    return path[:, WINDOW : WINDOW + HORIZON].numpy()


def main():
    folder, wanted, data = Path(sys.argv[1]), sys.argv[2:], series()
    np.savetxt(folder / "series.csv", data, "%.7g", ",", header="a,b,c", comments="")
    starts = np.linspace(TRAIN, ROWS - WINDOW - HORIZON, ROLLOUTS).astype(int)
    seeds = np.stack([data[s : s + WINDOW] for s in starts])
    truth = np.stack([data[s + WINDOW : s + WINDOW + HORIZON] for s in starts])
    for number, (name, make) in enumerate(MODELS.items()):
        if (wanted and name not in wanted) or (folder / f"{name}.npz").exists():
            continue
        torch.manual_seed(number)
        model = train(make(), data)
        try:
            litert_torch.convert(model, (torch.zeros(1, WINDOW, CHANNELS),)).export(str(folder / f"{name}.tflite"))
        except Exception as error:  # whatever a converter raises
            with (folder / "failed.txt").open("a") as file:
                file.write(f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:120]}\n")
            continue
        weights = sum(parameter.numel() for parameter in model.parameters())
        np.savez(folder / f"{name}.npz", seeds=seeds, truth=truth, torch=rollouts(model, seeds), weights=weights)


if __name__ == "__main__":
    main()
