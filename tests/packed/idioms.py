"""Lines of code as 3D CNNs contain them, each a function of a feature map x of 4 channels and 6 x 6 pixels, in float64.

Beside x a line sees y, another feature map of the same lengths; g, a gate (N, 4, 1, 1, 1); v, a vector (4,);
n, c, t, h and w, the sizes of x; torch, F, nn, math and np. `python -m tests.packed.sweep` prints what becomes of them.
"""

IDIOMS = {
    "arithmetic": """
        x + y
        x - 1
        2 * x
        1 - x
        x / (1 + x.abs())
        1 / (x * x + 1)
        2 ** x
        x ** 2
        -x
        abs(x)
        x // 1
        x % 2
        x += y
        x *= g
        x.add(y, alpha=0.5)
        x.add_(y)
        x.mul(g)
        x.mul_(g)
        x.div_(2.0)
        x.sub(y).pow(2)
        torch.add(x, y)
        torch.mul(x, g)
        torch.addcmul(x, y, g, value=0.5)
        torch.lerp(x, y, 0.3)
        torch.maximum(x, y)
        torch.minimum(x, y)
        torch.where(x > 0, x, y)
        torch.where(x > 0, x, 0.0)
        torch.where(g > 0, x, y)
        torch.stack([x, y]).sum(0)
        sum([x, y, x])
        x.masked_fill(x < 0, 0.0)
        x * (x > 0)
        x * (x > 0).float()
        x.clamp(0, 6) / 6
        x.clamp(min=0)
        x.clip(-1, 1)
        torch.clamp(x, max=1)
        torch.exp(-x.square())
        torch.log1p(x.abs())
        torch.sqrt(x.abs() + 1e-6)
        torch.rsqrt(x.abs() + 1)
        torch.sin(x) + torch.cos(x)
        torch.sigmoid(x) * x
        x * v.view(1, -1, 1, 1, 1)
        x * v[:, None, None, None]
        x + torch.ones(h, w, dtype=x.dtype)
        x + torch.ones(1, 1, 1, h, w, dtype=x.dtype)
        x * x.shape[1] ** -0.5
        x / x.size(2)
        x / math.sqrt(c)
        np.float64(2) * x
        torch.abs(x).neg()
        x.sign() * x.abs().sqrt()
        x.pow(3).mean(1, keepdim=True)
        x.float().double()
        x.to(torch.float32).to(x.dtype)
        x.type_as(y)
        x.half().float()
        x.new_zeros(n, c, 1, 1, 1) + x
        torch.zeros_like(x) + y
        torch.ones_like(x) * y
        torch.full_like(x, 2.0) * y
        torch.nan_to_num(x)
        x.erf()
        torch.logical_and(x > 0, y > 0)
        (x > 0) & (y > 0)
        ~(x > 0)
        x.eq(x.amax(1, keepdim=True))
        torch.floor_divide(x, 2)
        torch.atan2(x, y)
        torch.hypot(x, y)
        x.xlogy(y.abs())
        torch.special.expit(x)
        torch.heaviside(x, y)
        x.fmax(y)
        torch.copysign(x, y)
        x.tan()
        torch.acos(x.tanh())
        x.sinh()
        x.frac()
        torch.logit(x.sigmoid())
        torch.logaddexp(x, y)
        torch.deg2rad(x)
        torch.sgn(x)
        torch.signbit(x)
        x.erfinv()
        x.lgamma()
        torch.sinc(x)
    """,
    "activations": """
        F.relu(x)
        F.relu(x, inplace=True)
        x.relu_()
        torch.relu(x)
        F.relu6(x + 3)
        F.leaky_relu(x, 0.1)
        F.prelu(x, v)
        F.elu(x)
        F.selu(x)
        F.celu(x)
        F.gelu(x)
        F.gelu(x, approximate="tanh")
        F.silu(x)
        F.silu(x, inplace=True)
        F.mish(x)
        F.hardswish(x)
        F.hardsigmoid(x)
        F.hardtanh(x)
        F.softplus(x)
        F.softsign(x)
        F.logsigmoid(x)
        F.threshold(x, 0.1, 0.0)
        F.tanhshrink(x)
        x.tanh()
        x.sigmoid_()
        F.softmax(x, dim=1)
        x.softmax(1)
        F.log_softmax(x, 1)
        F.softmin(x, dim=1)
        F.glu(x, 1)
        F.softmax(x.flatten(3), -1)
        F.softmax(x, 2)
        F.softmax(x, -1)
        x.softmax(dim=3)
        F.dropout(x, 0.5, training=False)
        F.dropout3d(x, 0.5, training=False)
        F.alpha_dropout(x, 0.5, False)
        nn.Dropout2d(0.5).eval()(x)
        nn.ReLU(inplace=True)(x)
        nn.PReLU(4).double()(x)
        nn.Softmax(dim=1)(x)
        nn.Softmax2d()(x[:, :, 0])
        F.normalize(x)
        F.normalize(x, dim=2)
        F.normalize(x, dim=(3, 4))
    """,
    "norms": """
        F.batch_norm(x, v, v.abs() + 1)
        nn.BatchNorm3d(4).double().eval()(x)
        nn.GroupNorm(2, 4).double()(x)
        F.group_norm(x, 2)
        F.group_norm(x, 1)
        nn.InstanceNorm3d(4).double()(x)
        F.layer_norm(x.permute(0, 2, 3, 4, 1), (4,)).permute(0, 4, 1, 2, 3)
        F.layer_norm(x.movedim(1, -1), (4,)).movedim(-1, 1)
        F.layer_norm(x, (6, 6))
        F.layer_norm(x.transpose(1, 2), (4, 6, 6)).transpose(1, 2)
        F.rms_norm(x.permute(0, 2, 3, 4, 1), (4,)).permute(0, 4, 1, 2, 3)
        F.local_response_norm(x, 3)
        (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        (x - x.mean((2, 3, 4), keepdim=True)) / (x.std((2, 3, 4), keepdim=True) + 1e-5)
        x / x.norm(dim=1, keepdim=True)
        x / torch.linalg.vector_norm(x, dim=1, keepdim=True)
        x * torch.rsqrt(x.pow(2).mean(dim=(2, 3, 4), keepdim=True) + 1e-6)
        torch.norm(x, p=2, dim=(2, 3, 4), keepdim=True)
        x.norm(p=2, dim=(3, 4), keepdim=True) * v.view(1, -1, 1, 1, 1)
        F.batch_norm(x.flatten(2), v, v.abs() + 1)
        F.batch_norm(x.transpose(1, 2).flatten(0, 1), v, v.abs() + 1)
        F.instance_norm(x.flatten(3))
    """,
    "reductions": """
        x.mean(2)
        x.mean(2, keepdim=True)
        x.mean((3, 4))
        x.mean([2, 3, 4])
        x.mean((-3, -2, -1), keepdim=True)
        x.mean(-1).mean(-1)
        x.mean(-1).mean(-1).mean(-1)
        x.mean(1, keepdim=True)
        x.mean(dim=(1, 3, 4))
        x.sum(1)
        x.sum((2, 3, 4)) / (x.size(2) * h * w)
        torch.mean(x, dim=[2, 3, 4], keepdim=True)
        torch.sum(x, (3, 4))
        x.amax((3, 4), keepdim=True)
        x.amax(2)
        x.amax((2, 3, 4))
        x.max(1).values
        x.max(1, keepdim=True)[0]
        torch.max(x, dim=2)[0]
        x.max(-1)[0].max(-1)[0]
        torch.max(x, 1)[1]
        x.min(dim=2).values
        x.argmax(1)
        x.argmax(dim=2)
        torch.argmin(x, 1, keepdim=True)
        x.var((2, 3, 4))
        x.std(1, keepdim=True)
        torch.var_mean(x, dim=1, keepdim=True)[0]
        torch.std_mean(x, (2, 3, 4))
        x.logsumexp(1)
        torch.logsumexp(x, dim=(2, 3, 4))
        x.prod(1)
        x.prod(2)
        x.median(1).values
        x.quantile(0.5, dim=1)
        (x > 0).any(1)
        (x > 0).all(dim=2)
        torch.any(x > 0, 1, keepdim=True)
        torch.count_nonzero(x, 1)
        torch.aminmax(x, dim=1)
        x.sort(1).values
        torch.argsort(x, 1)
        x.topk(2, 1).values
        torch.topk(x, 2, dim=1)[0].mean(1)
        x.kthvalue(2, 1).values
        x.cumsum(1)
        torch.cumsum(x, 2)
        x.cumsum(dim=3)
        torch.cumprod(x, 1)
        x.diff(dim=1)
        torch.diff(x, dim=3)
        x.flatten(2).mean(2)
        x.flatten(2).mean(-1)
        x.flatten(2).max(2)[0]
        x.flatten(2).sum(-1)
        x.view(n, c, -1).mean(2)
        x.view(n, c, -1).max(-1).values
        x.view(n, c, -1).amax(2)
        x.view(n, c, -1).std(2)
        x.flatten(3).mean(3)
        x.flatten(2).topk(3, -1)[0].mean(-1)
        x.nanmean((3, 4))
        x.nansum(1)
        torch.mean(x.pow(3), (2, 3, 4)).pow(1 / 3)
        x.clamp(min=1e-6).pow(3).mean((2, 3, 4), keepdim=True).pow(1 / 3)
    """,
    "pools": """
        F.adaptive_avg_pool3d(x, 1)
        F.adaptive_avg_pool3d(x, (1, 1, 1)).flatten(1)
        F.adaptive_avg_pool3d(x, (1, 2, 2))
        F.adaptive_avg_pool3d(x, (None, 1, 1))
        F.adaptive_avg_pool3d(x, (x.size(2), 1, 1))
        F.adaptive_avg_pool3d(x, (2, 1, 1))
        F.adaptive_avg_pool3d(x, (x.shape[2], 3, 3))
        F.adaptive_max_pool3d(x, 1)
        F.adaptive_max_pool3d(x, (1, 3, 3))
        nn.AdaptiveAvgPool3d((None, 1, 1))(x).squeeze(-1).squeeze(-1)
        F.avg_pool3d(x, (x.size(2), 6, 6))
        F.avg_pool3d(x, x.shape[-3:])
        F.avg_pool3d(x, kernel_size=x.size()[2:]).view(n, -1)
        F.avg_pool3d(x, (1, 2, 2), (1, 2, 2))
        F.avg_pool3d(x, 2, 1, 1)
        F.avg_pool3d(x, 2, 2, 1, count_include_pad=False)
        F.avg_pool3d(x, (1, 3, 3), 2, (0, 1, 1))
        F.avg_pool3d(x, 1, (2, 2, 2))
        F.max_pool3d(x, 3, 1, 1)
        F.max_pool3d(x, (1, 2, 2))
        F.max_pool3d(x, (3, 3, 3), (2, 2, 2), (1, 1, 1))
        F.max_pool3d(x, (1, 3, 3), ceil_mode=True)
        F.max_pool3d(x, 1, 2, ceil_mode=True)
        F.max_pool3d(x, x.size()[2:])
        F.max_pool3d(x, (3, 1, 1), (1, 1, 1), (1, 0, 0))
        F.lp_pool3d(x.abs(), 2, (1, 2, 2))
        F.avg_pool3d(F.pad(x, (0, 1, 0, 1)), (1, 2, 2))
        nn.AvgPool3d((1, 6, 6))(x).squeeze(4).squeeze(3)
        F.max_pool3d(x, (1, 2, 2), return_indices=True)[0]
        F.interpolate(x, scale_factor=(1, 2, 2))
        F.interpolate(x, scale_factor=(1, 2, 2), mode="trilinear", align_corners=False)
        F.interpolate(x, scale_factor=2, mode="nearest")
        F.interpolate(x, size=(x.size(2), 3, 3))
        F.interpolate(x, size=y.shape[2:], mode="trilinear")
        F.interpolate(x, size=(1, h, w), mode="nearest")
        F.upsample(x, scale_factor=2)
        F.avg_pool2d(x.transpose(1, 2).flatten(0, 1), 2)
        F.adaptive_avg_pool2d(x.transpose(1, 2).reshape(-1, c, h, w), 1)
        F.adaptive_avg_pool1d(x.flatten(2), 1)
        F.adaptive_avg_pool1d(x.mean((3, 4)), 1)
        F.max_pool1d(x.mean((3, 4)), 3, 1, 1)
        F.pixel_shuffle(x.transpose(1, 2).flatten(0, 1), 2)
        F.unfold(x.transpose(1, 2).flatten(0, 1), 2)
    """,
    "convolutions": """
        F.conv3d(x, torch.ones(2, 4, 1, 1, 1, dtype=x.dtype))
        F.conv3d(x, torch.ones(2, 4, 3, 3, 3, dtype=x.dtype), padding=1)
        F.conv3d(x, torch.ones(2, 4, 3, 3, 3, dtype=x.dtype), stride=2, padding=1)
        F.conv3d(x, torch.ones(4, 1, 3, 3, 3, dtype=x.dtype), padding=1, groups=4)
        F.conv3d(x, torch.ones(2, 4, 3, 1, 1, dtype=x.dtype), padding=(2, 0, 0), dilation=(2, 1, 1))
        F.conv3d(x, torch.ones(2, 4, 1, 3, 3, dtype=x.dtype), padding="same")
        F.conv3d(x, torch.ones(2, 4, 3, 3, 3, dtype=x.dtype), padding="same")
        F.conv3d(F.pad(x, (1, 1, 1, 1, 1, 1)), torch.ones(2, 4, 3, 3, 3, dtype=x.dtype))
        F.conv3d(F.pad(x, (0, 0, 0, 0, 2, 0)), torch.ones(2, 4, 3, 1, 1, dtype=x.dtype))
        F.conv3d(F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate"), torch.ones(2, 4, 3, 3, 3, dtype=x.dtype))
        F.conv_transpose3d(x, torch.ones(4, 2, 1, 2, 2, dtype=x.dtype), stride=(1, 2, 2))
        F.conv_transpose3d(x, torch.ones(4, 2, 2, 2, 2, dtype=x.dtype), stride=2)
        torch.conv3d(x, torch.ones(2, 4, 1, 1, 1, dtype=x.dtype))
        nn.Conv3d(4, 4, 3, padding=1, padding_mode="replicate").double()(x)
        nn.Conv3d(4, 4, 3, padding=1, padding_mode="circular").double()(x)
        nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1), padding_mode="reflect").double()(x)
        nn.utils.parametrizations.weight_norm(nn.Conv3d(4, 2, 1)).double()(x)
        F.conv2d(x.transpose(1, 2).flatten(0, 1), torch.ones(2, 4, 3, 3, dtype=x.dtype), padding=1)
        F.conv2d(x.transpose(1, 2).reshape(n * t, c, h, w), torch.ones(2, 4, 1, 1, dtype=x.dtype)).view(n, t, 2, h, w)
        F.conv1d(x.mean((3, 4)), torch.ones(2, 4, 3, dtype=x.dtype), padding=1)
        F.conv1d(x.mean((2, 3, 4)).unsqueeze(1), torch.ones(1, 1, 3, dtype=x.dtype), padding=1)
        F.conv1d(x.permute(0, 3, 4, 1, 2).reshape(-1, c, t), torch.ones(2, 4, 3, dtype=x.dtype), padding=1)
        F.linear(x.mean((2, 3, 4)), torch.ones(3, 4, dtype=x.dtype))
        F.linear(x.movedim(1, -1), torch.ones(3, 4, dtype=x.dtype)).movedim(-1, 1)
        F.linear(x.permute(0, 2, 3, 4, 1), torch.ones(3, 4, dtype=x.dtype)).mean((1, 2, 3))
        F.linear(x.mean((3, 4)).transpose(1, 2), torch.ones(3, 4, dtype=x.dtype)).mean(1)
        F.linear(x.flatten(2).transpose(1, 2), torch.ones(3, 4, dtype=x.dtype))
        x @ torch.ones(6, 3, dtype=x.dtype)
        torch.matmul(x, torch.ones(6, 6, dtype=x.dtype))
        torch.matmul(x.flatten(2), x.flatten(2).transpose(1, 2))
        torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2))
        torch.einsum("ncthw,oc->nothw", x, torch.ones(2, 4, dtype=x.dtype))
        torch.einsum("ncthw,nc->nthw", x, x.mean((2, 3, 4)))
        torch.tensordot(x, torch.ones(4, 2, dtype=x.dtype), dims=([1], [0]))
        F.scaled_dot_product_attention(x.flatten(2).mT, x.flatten(2).mT, x.flatten(2).mT)
        F.cosine_similarity(x, y, dim=1)
        F.grid_sample(x, torch.zeros(n, 1, 2, 2, 3, dtype=x.dtype), align_corners=False)
        torch.fft.rfft2(x).abs()
    """,
    "slices": """
        x[:, :2]
        x[:, 2:] + x[:, :2]
        x[:, ::2]
        x[:, 0]
        x[:, 0:1, ...]
        x[:, -1:]
        x[:, [0, 2]]
        x[:, torch.tensor([3, 1])]
        x[..., 1:-1, 1:-1]
        x[..., ::2, ::2]
        x[:, :, :, 0, 0]
        x[:, :, :, 1:, :-1]
        x[:, None]
        x[..., None]
        x[:, :, :, :h]
        x[:, :, 1:]
        x[:, :, -1:]
        x[:, :, 0]
        x[:, :, -1]
        x[:, :, ::2]
        x[:, :, :1].expand_as(x)
        x[:, :, t // 2]
        x[:, :, t - 1]
        x[:, :, :t]
        x[:, :, torch.tensor([0])]
        x[x > 0]
        x[:, v > 0]
        x.narrow(1, 1, 2)
        x.narrow(2, 0, 1)
        x.select(1, 0)
        x.select(2, 0)
        x.chunk(2, 1)[1]
        torch.chunk(x, 2, dim=1)
        x.chunk(2, dim=2)[0]
        x.split(2, 1)
        torch.split(x, [1, 3], dim=1)[1]
        torch.split(x, c // 2, 1)
        x.tensor_split(2, dim=1)
        x.unbind(1)
        x.unbind(2)
        torch.unbind(x, 1)[0]
        x.index_select(1, torch.tensor([0, 2]))
        torch.index_select(x, 2, torch.tensor([0]))
        x.take_along_dim(x.argsort(1), 1)
        x.gather(1, x.argmax(1, keepdim=True))
        x.flip(1)
        x.flip(-1)
        torch.flip(x, [3, 4])
        x.flip(2)
        torch.flip(x, dims=(2,))
        x.roll(1, 1)
        torch.roll(x, (1, 1), (3, 4))
        torch.roll(x, 1, 2)
        torch.roll(x, shifts=-1, dims=2)
        x.repeat(1, 2, 1, 1, 1)
        x.repeat_interleave(2, 1)
        x.repeat_interleave(2, dim=2)
        torch.tile(x, (1, 2, 1, 1, 1))
        x.expand(n, c, t, h, w)
        x.mean(1, keepdim=True).expand(-1, 4, -1, -1, -1)
        x.mean((2, 3, 4), keepdim=True).expand_as(x)
        x.mean((2, 3, 4), keepdim=True).expand(n, c, t, h, w)
        x.mean((2, 3, 4), keepdim=True).repeat(1, 1, t, h, w)
        x.mean(2, keepdim=True).expand(-1, -1, x.size(2), -1, -1)
        torch.cat([x, y], 1)
        torch.cat((x, x.mean(1, keepdim=True)), dim=1)
        torch.cat([x, y], dim=-1)
        torch.cat([x, y], 2)
        torch.cat([x[:, :, :1], x], 2)
        torch.cat([x, torch.zeros_like(x[:, :2])], 1)
        torch.cat([x, torch.zeros(n, 2, t, h, w, dtype=x.dtype)], 1)
        torch.cat([x, x.new_zeros(n, 2, t, h, w)], dim=1)
        torch.cat([x, x.mean((2, 3, 4), keepdim=True).expand_as(x)], 1)
        torch.hstack([x, y])
        torch.stack([x, y], 1).sum(1)
        torch.stack((x, y), dim=2).flatten(1, 2)
        torch.stack([x, y], -1).amax(-1)
        F.pad(x, (1, 1, 1, 1))
        F.pad(x, (0, 0, 0, 0, 1, 1))
        F.pad(x, (0, 0, 0, 0, 0, 0, 0, 2))
        F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate")
        F.pad(x, (1, 1, 1, 1), value=-1.0)
        F.pad(x, (0, 0, 0, 0, 0, 0, 1, 1), "constant", 0)
        x.unfold(3, 2, 2)
        x.diagonal(dim1=3, dim2=4)
    """,
    "shapes": """
        x.view(n, c, t, h * w)
        x.view(n, c, -1)
        x.view(n, 2, c // 2, t, h, w)
        x.view(n, 2, 2, t, h, w).transpose(1, 2).reshape(n, c, t, h, w)
        x.view(n, 2, c // 2, t, h, w).permute(0, 2, 1, 3, 4, 5).contiguous().view(n, -1, t, h, w)
        x.reshape(n, c * 2, t, h // 2, w)
        x.reshape(n, c, t, h // 2, 2, w // 2, 2).mean((4, 6))
        x.reshape(n, c, t, 2, h // 2, 2, w // 2).permute(0, 1, 3, 5, 2, 4, 6).flatten(1, 3)
        x.reshape(x.shape)
        x.view(x.size())
        x.view_as(y)
        x.reshape_as(y)
        x.flatten(3)
        x.flatten(-2)
        x.flatten(-2).unflatten(-1, (6, 6))
        x.flatten(1, 2)
        x.flatten(0, 1)
        x.flatten(2)
        x.flatten(2).transpose(1, 2)
        x.flatten(2).transpose(1, 2).transpose(1, 2).view(n, c, t, h, w)
        x.flatten(2).unflatten(2, (t, h, w))
        x.flatten(2).view(n, c, t, h, w)
        x.flatten(2) * g.flatten(2)
        x.view(n, c, -1) * g.view(n, c, 1)
        x.unflatten(1, (2, 2)).flatten(1, 2)
        x.transpose(1, 2)
        x.transpose(1, 2).transpose(1, 2)
        x.transpose(1, 2).flatten(0, 1)
        x.transpose(1, 2).reshape(-1, c, h, w)
        x.transpose(1, 2).contiguous().view(n * t, c, h, w)
        x.transpose(1, 2).flatten(2)
        x.transpose(3, 4)
        x.transpose(-1, -2) + x
        x.mT
        x.swapaxes(1, 2)
        x.swapdims(1, 2)
        x.movedim(1, -1)
        torch.movedim(x, 2, 1)
        x.moveaxis(1, 4)
        x.permute(0, 2, 1, 3, 4)
        x.permute(0, 2, 3, 4, 1)
        x.permute(0, 2, 3, 4, 1).permute(0, 4, 1, 2, 3)
        x.permute(0, 3, 4, 1, 2).reshape(-1, c, t)
        x.permute(0, 2, 3, 4, 1).reshape(-1, c)
        x.permute(0, 2, 3, 4, 1).contiguous().view(n, -1, c)
        x.permute([0, 2, 1, 3, 4]).mean([3, 4])
        torch.permute(x, (0, 2, 1, 3, 4))
        x.unsqueeze(1)
        x.unsqueeze(1).squeeze(1)
        x.unsqueeze(-1) * y.unsqueeze(-1)
        x.unsqueeze(2).expand(-1, -1, 2, -1, -1, -1).sum(2)
        x.mean((3, 4), keepdim=True).squeeze(-1).squeeze(-1)
        x.mean((2, 3, 4), keepdim=True).squeeze(4).squeeze(3).squeeze(2)
        x.mean((2, 3, 4), keepdim=True).view(n, -1)
        x.mean((2, 3, 4), keepdim=True).flatten(1)
        x.mean((2, 3, 4), keepdim=True)[:, :, 0, 0, 0]
        x.contiguous()
        x.contiguous(memory_format=torch.channels_last_3d)
        x.to(memory_format=torch.channels_last_3d)
        x.clone(memory_format=torch.preserve_format)
        x.clone()
        x.detach()
        x.data
        x.data.size(1)
        x.requires_grad_(False) if not x.requires_grad else x
        x.shape
        x.size()
        x.size(2)
        x.shape[2:]
        x.size()[-3:]
        list(x.shape)
        x.shape[-2:]
        x.ndim
        x.dim()
        len(x.shape)
        x.shape[1] // 2
        x.size(2) // 2
        x.size(2) * x.size(3)
        x.dtype
        x.is_cuda
        x.is_contiguous()
        x.device.type
        x.is_floating_point()
        x.cpu()
        x.to("cpu")
        x.to(y)
        x.to(x.device, x.dtype)
        x.T
        x.tolist()
        x.numpy(force=True)
        F.channel_shuffle(x, 2)
        x.broadcast_to(n, c, t, h, w)
        torch.broadcast_tensors(x, g)[1]
        torch.squeeze(x.mean((3, 4), True), -1)
    """,
    "whole idioms": """
        x * F.adaptive_avg_pool3d(x, 1).sigmoid()
        x * torch.sigmoid(F.linear(x.mean((2, 3, 4)), torch.eye(4, dtype=x.dtype)))[:, :, None, None, None]
        x * F.hardsigmoid(F.adaptive_avg_pool3d(x, 1).view(n, c)).view(n, c, 1, 1, 1).expand_as(x)
        x * torch.sigmoid(torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1).mean(1, keepdim=True))
        torch.cat([x[:, :2], F.relu(x[:, 2:])], 1)
        torch.cat([F.relu(part) for part in x.chunk(2, 1)], 1)
        x + F.interpolate(F.avg_pool3d(x, (1, 2, 2)), size=x.shape[2:])
        x + F.interpolate(F.max_pool3d(x, 3, 2, 1), size=x.shape[2:], mode="trilinear", align_corners=False)
        x[:, :, 1:] - x[:, :, :-1]
        F.pad(x[:, :, 1:] - x[:, :, :-1], (0, 0, 0, 0, 0, 1))
        torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :1, :-1], x[:, 1:]], 1)
        x.mean((3, 4)).softmax(-1)
        (x * x.mean((1, 3, 4), keepdim=True).softmax(2)).sum(2)
        (x.flatten(2) * x.flatten(2).mean(1, keepdim=True).softmax(-1)).sum(-1)
        x.mean((3, 4)).transpose(1, 2)
        x.mean((3, 4)).unsqueeze(-1).unsqueeze(-1) * x
        x.mean((3, 4))[..., None, None].expand_as(x)
        x.mean(1).unsqueeze(1) + x
        x.amax(1, keepdim=True) * x.mean((3, 4), keepdim=True)
        x.div(1 - 0.2) * torch.floor(0.8 + torch.zeros((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype))
        x * x.new_empty((n, 1, 1, 1, 1)).bernoulli_(1.0)
        [F.relu(part) for part in torch.split(x, 2, dim=1)][1]
        sum(x[:, i] for i in range(4))
        torch.stack([x[:, i] for i in range(4)], 1)
        torch.cat([x[:, i : i + 1] for i in (2, 0)], dim=1)
        (torch.stack([x, y], 1) * torch.stack([x, y], 1).mean((2, 3, 4, 5), keepdim=True).softmax(1)).sum(1)
        F.avg_pool3d(x, (x.shape[2], x.shape[3], x.shape[4])).squeeze()
        x.view(n, c, -1).mean(-1).view(n, c, 1, 1, 1) * x
        F.relu(x, inplace=True).mean([-1, -2]).mean(-1)
        torch.utils.checkpoint.checkpoint(F.silu, x, use_reentrant=False)
        x if x.shape[1] == 4 else None
        x if x.size(2) >= 1 else None
        x if x.shape == y.shape else None
        x if x.shape[2:] == y.shape[2:] else None
        x if isinstance(x.size(2), int) or x.size(2) > 0 else None
        F.interpolate(x, size=[x.size(2) * 2, h, w])
        x.mul(torch.tanh(F.softplus(x)))
        x.mul(F.relu6(x + 3)).div(6)
        F.conv3d(x.view(1, n * c, t, h, w), torch.ones(4 * n, 1, 1, 1, 1, dtype=x.dtype), groups=n * c)
    """,
}
