"""Cutting, moving and naming dimensions, as lines of code in 3D CNNs; x and the rest are those of `idioms.py`."""

SHAPES = {
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
