"""
2. Training: a model and its loop
=================================

Model, loss, optimizer, initialisation, and the two loops, first by hand. Then one call of sktorch
that trains the same net.
"""

# %%
# The data of :doc:`part 1 <1_data>`, in short: as numbers, rows that train and rows to validate on.
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import nn

from sktorch.preprocessing import make_cleaner

table = pd.read_csv("penguins-raw.csv").dropna(subset="Sex")
columns = [
    *("Species", "Island", "Clutch Completion", "Date Egg"),
    *("Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"),
    *("Delta 15 N (o/oo)", "Delta 13 C (o/oo)"),
]
X, y = table[columns], table["Sex"]
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)
X_train, X_valid, y_train, y_valid = train_test_split(
    X_rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0
)
cleaner = make_cleaner().fit(X_train)
A_train, A_valid = (cleaner.transform(X).to_numpy("float32") for X in (X_train, X_valid))
print(A_train.shape, A_valid.shape)

# %%
# Model, layer by layer
# ---------------------
# A batch of 32 rows passes through two layers. The last one has an output for each class, a logit:
# no softmax follows, as the loss has it inside.


class Net(nn.Module):
    def __init__(self, n_features, n_outputs, width=32):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.activation = nn.ReLU()
        self.output = nn.Linear(width, n_outputs)

    def forward(self, X):
        return self.output(self.activation(self.hidden(X)))


# %%
# .. rst-class:: by-hand
#
# By hand we count inputs and outputs, and follow a batch through the layers.
n_features = A_train.shape[1]
net = Net(n_features, n_outputs=2)
step = torch.zeros(32, n_features)
print(f"{'input':12}{tuple(step.shape)}")
for name, layer in net.named_children():
    step = layer(step)
    n_parameters = sum(parameter.numel() for parameter in layer.parameters())
    print(f"{name:12}{tuple(step.shape)!s:12}{n_parameters:5} parameters")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch the class itself is the first argument. ``n_features`` and ``n_outputs`` are filled
# in from the data; other parameters are named after a double underscore.
from sktorch import TorchClassifier

TorchClassifier(Net, module__width=32)

# %%
# Parameter initialisation
# ------------------------
#
# .. rst-class:: by-hand
#
# Training begins at random weights. For layers in front of a ReLU, Kaiming's are a good choice;
# biases begin at zero.


def initialise(layer):
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


torch.manual_seed(0)
net = Net(n_features, n_outputs=2).apply(initialise)
print(f"Deviation of the first layer's weights: {net.hidden.weight.std().item():.3f}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch it is a parameter. The gain is that of the activation that follows, and patterns of
# names reach single layers. We leave it out from here on, and begin at torch's own random weights.
TorchClassifier(Net, initializer={"*.weight": "kaiming_normal", "*.bias": "zeros"})

# %%
# Loss
# ----
#
# .. rst-class:: by-hand
#
# Cross-entropy is small where the right class has a high probability. A net that knows nothing has
# about log 2, or 0.69, for two classes.
labels = sorted(y_train.unique())
c_train = torch.tensor([labels.index(label) for label in y_train])
loss_function = nn.CrossEntropyLoss()
torch.manual_seed(0)
net = Net(n_features, n_outputs=2)
print(f"Loss before training: {loss_function(net(torch.tensor(A_train)), c_train):.3f}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch it is ``criterion``, and cross-entropy is the default for labels.
TorchClassifier(Net, criterion=nn.CrossEntropyLoss)

# %%
# Optimizer
# ---------
#
# .. rst-class:: by-hand
#
# It changes the parameters against their gradients, by a step whose size is the learning rate.
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=0.1, fused=True)

# %%
# .. rst-class:: by-sktorch
#
# With sktorch the class and its parameters are named. The fused step is the default.
TorchClassifier(Net, optimizer=torch.optim.AdamW, lr=0.003, optimizer__weight_decay=0.1)

# %%
# Training loop
# -------------
#
# .. rst-class:: by-hand
#
# For each batch: move it to the device, set the gradients to zero, compute the outputs, compute the
# loss, go backward to the gradients, and take a step. ``train()`` switches dropout and batch norm,
# if there are any, to training.
device = "cuda" if torch.cuda.is_available() else "cpu"


def train_epoch(net, loader, optimizer):
    net.train()
    total = 0.0
    for X_batch, y_batch in loader:
        X_batch, y_batch = X_batch.to(device), y_batch.to(device)
        optimizer.zero_grad()
        loss = loss_function(net(X_batch), y_batch)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(X_batch)
    return total / len(loader.dataset)


# %%
# Validation loop
# ---------------
#
# .. rst-class:: by-hand
#
# ``eval()`` switches dropout off, and without gradients less memory is used. Losses and predictions
# come back to the CPU, where the metrics are computed.
from sklearn.metrics import accuracy_score


def validate(net, loader):
    net.eval()
    total, predicted, true = 0.0, [], []
    with torch.no_grad():
        for X_batch, y_batch in loader:
            outputs = net(X_batch.to(device))
            total += loss_function(outputs, y_batch.to(device)).item() * len(X_batch)
            predicted.append(outputs.argmax(dim=1).cpu())
            true.append(y_batch)
    return total / len(loader.dataset), accuracy_score(torch.cat(true), torch.cat(predicted))


# %%
# Both loops, for thirty epochs
# -----------------------------
#
# .. rst-class:: by-hand
#
# The rows to validate on only show how training fares: the net never trains on them. So small a net
# is fastest on one thread.
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
c_valid = torch.tensor([labels.index(label) for label in y_valid])
torch.manual_seed(0)
net = Net(n_features, n_outputs=2).to(device)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.003, weight_decay=0.1, fused=True)
train_set = TensorDataset(torch.tensor(A_train), c_train)
valid_set = TensorDataset(torch.tensor(A_valid), c_valid)
train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
valid_loader = DataLoader(valid_set, batch_size=32)

train_losses, valid_losses = [], []
for epoch in range(1, 31):
    train_losses.append(train_epoch(net, train_loader, optimizer))
    valid_loss, accuracy = validate(net, valid_loader)
    valid_losses.append(valid_loss)
    if epoch % 5 == 0:
        print(f"{epoch:3}  train {train_losses[-1]:.3f}  valid {valid_loss:.3f}  {accuracy:.3f}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch all of this is ``fit``. By default it stops after ten epochs without improvement; the
# loop by hand has no such rule, and ``n_iter_no_change=30`` lets all thirty epochs train.
classifier = TorchClassifier(
    Net,
    lr=0.003,
    optimizer__weight_decay=0.1,
    batch_size=32,
    max_epochs=30,
    n_iter_no_change=30,
    validation=(A_valid, y_valid),
    random_state=0,
)
classifier.fit(A_train, y_train)
print(f"Accuracy on the rows to validate on: {classifier.score(A_valid, y_valid):.3f}")

# %%
# The same net
# ------------
# With the same seed the initial weights and the batches are the same, and so is the result.
by_hand, by_sktorch = net.state_dict(), classifier.module_.state_dict()
difference = max((by_hand[name] - by_sktorch[name]).abs().max().item() for name in by_hand)
print(f"Largest difference between the weights of both nets: {difference:.1e}")

# %%
# The loss of the training rows keeps falling. That of the rows to validate on hardly falls after
# twenty epochs: what the net still learns helps with its own rows alone.
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
epochs = range(1, 31)
axes.plot(epochs, train_losses, color="tab:blue", linewidth=5, alpha=0.3, label="train, by hand")
axes.plot(epochs, classifier.history_[:, "train_loss"], color="tab:blue", label="train, sktorch")
axes.plot(epochs, valid_losses, color="tab:orange", linewidth=5, alpha=0.3, label="valid, by hand")
axes.plot(epochs, classifier.history_[:, "valid_loss"], color="tab:orange", label="valid, sktorch")
axes.set(xlabel="Epoch", ylabel="Cross-entropy")
axes.legend()
plt.show()

# %%
# Next: :doc:`3_final_model`.
