#!/usr/bin/env python3
"""Metrics by scikit-learn, SciPy, NumPy and the official VQA scorer: `python metrics_golden.py FILE.json [--vqa-eval vqaEval.py]`.

FILE.json (the committed one is tests/golden/metrics.json: scikit-learn 1.9.1, SciPy 1.17.1, NumPy 2.4.6) gets one list
of cases per metric, inputs beside the values expected of them; null stands for an undefined value. vqaEval.py is
PythonEvaluationTools/vqaEvaluation/vqaEval.py of GT-Vision-Lab/VQA at a013f0043c1e2cdc995922dfe257f7149aa9af06 (older
revisions differ), run as it is but for its print statements; without it the "vqa" section of FILE.json stays as it was.
"""
import argparse
import contextlib
import io
import json
import re
import string
import types
import warnings

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn import linear_model, metrics

# The "vectors" of the punctuation, period and word steps, then answers that are awkward for them.
VECTORS = ["5.", "3.5", ".5", "a.m.", "U.S.A", "1,000", "12,5-7", "black/white", "t-shirt", "yes,it is", "10:30", "$5", "50%", "rock & roll", "dont", "Dont", "Ive", "somebody'd", "None", "ten", "eleven", "A man", "the"]
AWKWARD = VECTORS + [
    # commas and digits
    "1,000,000", "1, 000", "1 ,000", "a,1", "1,a", "3,4 & 5", "$1,000.50", ",5", "5,", "1,,2", "1,2", "a-b 1,2", "x/y,z", "red, white, blue", "red,white,blue", "1,2,3", "12,345-6/7", "x_y (1,5)",
    # periods
    "...", ".", "a. b", "5. ", "v1.2.3", "1.a", ".a", "." * 32, "." * 33, "." * 40, "a." * 40, ".1" * 40, "a." * 31 + "b.c.d", "U.S.A.", "3.5.", "e.g., this", "100.00%", "..5", "5..", "<=5.", "<=.5", "a<=5.b", "St. Louis", "p.m", "no.", "no .", "yes. no.", "2.5 ft.", ". . .", ".5.", "1.,2", "ten.", "the.",
    # listed marks beside spaces and not, several kinds at once
    "t - shirt", "t- shirt", "t -shirt", "t-shirt - red", "black/white / red", "a-b-c", "-", "--", "- -", " - ", "?", "!!", "what?", "what ?", "what? no?yes", "(left)", "( left )", "left (right) up", "[x]", "{x}", "\"hello\"", "say \"hello\" now", "\"hello\" \"hello\"", "\\", "\\n", "a\\b", "a_b_c", "_a_", "a+b=c", "a + b = c", "<b>bold</b>", "x>y", "x > y", "a@b.com", "@ home", "`tick`", "yes!no", "yes! no!x", "yes;no", "yes; no;x", "-5", "- 5", "5-10", "5 - 10", "1/2", "1 / 2", "9/11/2001", "black&white", "#1", "# 1", "*", "5*", "a|b", "a~b", "a^b", "50 %", "$ 5", "5:00 pm", "5 : 00", "it's", "its'", "'", "' '", "'yes'", "o'clock", "rock 'n' roll", "dogs'",
    # number words
    "none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "TEN", "One", "Two dogs", "one-two", "twenty one", "twenty-one", "None of the above", "no one", "one's", "tenth", "one.", "1 one", "none none", "(two)", "10", "0", "00", "on e",
    # articles
    "a", "an", "A", "An", "The", "THE", "The the", "a.", "a-b", "a b", "an apple a day", "(the)", "the a an", "theatre", "than a", "a,an,the", "a, an, the", "another", "a's", "the-end", "-a-", "a an the man",
    # contractions within a text and beside marks
    "dont know", "I dont", "dont.", "dont!", "dont-know", "don't", "dont dont", "it isnt, is it", "Id've", "I'dve", "Im", "im", "Ive got", "id've", "i'dve", "theyre the ones", "shes", "lets", "let's go", "wont/cant", "DONT", "CANT", "Youre", "YALL'D'VE", "'Ows'at", "don.t", "do.nt", "d,ont", "cant,cant", "none cant",
    # other scripts and spaces
    "café", "CAFÉ", "naïve", "ÅNGSTRÖM", "straße", "STRASSE", "日本", "日本。", "1，000", "don’t", "DON’T", "½", "5½", "“quoted”", "a–b", "a—b", "a‐b", "¿qué?", "¡no!", "no\u00a0way", "the\u00a0man", "x\u3000y", "\u2003yes", "zero\u200bwidth", "😀!", "😀 !", "e\u0301", "É.", "…", "a…b", "１", "Один", "ДОМ", "αβγ", "Ω", "x\x0by", "x\x0cy", "x\x1cy", "x\x1fthe", "x\x85y", "x\u2028y", "\ufeffyes", "-\u00a0x-y", "²", "x²,³",
    # nothing, spaces, tabs and newlines
    "", " ", "   ", "  two  words  ", "yes ", " yes", "a\tb", "yes\n", "\nyes", "yes\r\nno", "\t", "yes\tno\nmaybe", "the\tman", "ten\nmen", "t-\nshirt", "t-\nshirt-x", "x\t-y-z", "yes,\tno,x", "x-y-\n", "\t-x-y", "1,\t000", "a.\tb", "Yes No", "YES", "yes", "UPPER lower", "a" * 100, "very " * 20,
]  # fmt: skip
POOLS = [
    ["yes", "Yes", "yes.", "yes!", " yes", "yes\n", "YES", "no", "No.", "yes, it is", "yes,it is", "yes it is"],
    ["1", "one", "One", "1.", "none", "0", "zero", "ten", "10", "1,0", "10.", "a one", "the 1"],
    ["black/white", "black white", "black / white", "black-white", "Black & White", "black,white", "black, white", "white", "the black white"],
    ["t-shirt", "t shirt", "tshirt", "T-Shirt", "shirt", "a t-shirt", "t - shirt", "t-\tshirt"],
    ["dont", "don't", "Dont", "do not", "dont.", "don't!", "DON'T", "the dont"],
    ["1,000", "1000", "1, 000", "1 000", "1.000", "1000.", "$1,000", "1,000-", "1,00-0"],
    ["the", "a", "an", "", "?", " ", "The", "!", "a an", "-", "none", "."],
    ["a.m.", "am", "AM", "a.m", "5 a.m.", "5am", "5:00", "5:00 a.m.", "5. a.m."],
    ["café", "cafe", "CAFÉ", "Café.", "a café", "cafe\u0301", "the\u00a0café"],
    ["Yes", "Yes ", "\tYes", "Yes\n", "yes"],
]


def finite(value):
    """A float for JSON: None where the value is undefined."""
    return None if value is None or not np.isfinite(value) else float(value)


def rounded(x, digits):
    """Decimals of few digits, without a negative zero."""
    return np.round(x, digits) + 0.0


def classes():
    rng, cases = np.random.default_rng(1), []

    def add(predicted, gold, count):
        predicted, gold = np.asarray(predicted), np.asarray(gold)
        accuracy = float((predicted == gold).mean())
        f1 = float(metrics.f1_score(gold, predicted, pos_label=1, zero_division=0)) if count == 2 else None
        mean_per_class = float(metrics.balanced_accuracy_score(gold, predicted))
        matthews = finite(metrics.matthews_corrcoef(gold, predicted))
        cases.append(dict(predicted=predicted.tolist(), gold=gold.tolist(), classes=count, accuracy=accuracy, mean_per_class=mean_per_class, matthews=matthews, f1=f1, accuracy_f1_mean=None if f1 is None else (accuracy + f1) / 2))

    for n, count, right in [(5, 2, 0.5), (10, 2, 0.7), (60, 2, 0.8), (408, 2, 0.75), (7, 3, 0.5), (50, 3, 0.6), (400, 3, 0.4), (30, 4, 0.0), (120, 5, 0.9), (200, 7, 0.3), (90, 10, 0.5), (400, 12, 0.7), (20, 12, 0.5)]:
        gold = rng.choice(count, n, p=(p := rng.dirichlet(np.full(count, 2.0))))
        add(np.where(rng.random(n) < right, gold, rng.integers(0, count, n)), gold, count)
    # Counts whose four-fold product needs more than 32 bits.
    gold = rng.integers(0, 2, 1400)
    add(np.where(rng.random(1400) < 0.85, gold, 1 - gold), gold, 2)
    for count in (2, 5):
        gold = rng.integers(0, count, 24)
        for value in (0, count - 1):
            add(np.full(24, value), gold, count)  # all predictions one class
            add(gold, np.full(24, value), count)  # gold has one class
            add(np.full(24, value), np.full(24, value), count)
        add(np.full(24, 0), np.full(24, count - 1), count)
        add(gold, gold, count)
        add((gold + 1) % count, gold, count)
    gold = rng.choice([0, 2, 5], 40)
    add(rng.integers(0, 8, 40), gold, 8)  # predicted classes that gold lacks
    add(np.where(gold == 5, 7, gold), gold, 8)
    add([0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 1, 0], 2)  # no predicted positives
    add([0, 1, 1, 0], [0, 0, 0, 0], 2)  # no gold positives
    for predicted, gold, count in [(0, 0, 2), (1, 1, 2), (0, 1, 2), (1, 0, 2), (3, 3, 6), (2, 5, 6)]:
        add([predicted], [gold], count)
    return cases


def top5():
    rng, cases = np.random.default_rng(2), []

    def add(logits, gold):
        logits, gold = np.asarray(logits, float), np.asarray(gold)
        order = np.argsort(-logits, axis=1, kind="stable")  # the lowest index first among equals
        top = lambda k: float((order[:, :k] == gold[:, None]).any(1).mean())
        cases.append(dict(logits=logits.tolist(), gold=gold.tolist(), top5=top(5) if logits.shape[1] >= 5 else None, top1=top(1)))

    for n, count, digits in [(20, 5, 2), (40, 6, 0), (30, 8, 4), (60, 10, 1), (40, 20, 0), (25, 12, 0), (1, 7, 2)]:
        gold = rng.integers(0, count, n)
        add(rounded(rng.normal(size=(n, count)) + 1.0 * (np.arange(count) == gold[:, None]), digits), gold)
    add(np.zeros((9, 9)), np.arange(9))  # nine equal logits: the first five
    add([[0.0, -0.0, 1.0, 0.0, -0.0, 0.0, -1.0]] * 7, np.arange(7))  # the zeros are equal
    add([[1, 2, 3, 3, 3, 3, 3, 3]] * 8, np.arange(8))
    add([[-5, -4, -3, -2, -1]] * 5, np.arange(5))
    gold = rng.integers(0, 4, 30)
    add(rounded(rng.normal(size=(30, 4)), 1), gold)
    return cases


def delong(scores, gold):
    """The standard error of DeLong, DeLong and Clarke-Pearson (1988) from mid-ranks."""
    positive, negative = scores[gold == 1], scores[gold == 0]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        return None
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    v10 = (ranks[:m] - stats.rankdata(positive)) / n
    v01 = 1 - (ranks[m:] - stats.rankdata(negative)) / m
    return float(np.sqrt(v10.var(ddof=1) / m + v01.var(ddof=1) / n))


def scores():
    rng, cases = np.random.default_rng(3), []

    def add(values, gold):
        values, gold = np.asarray(values, float), np.asarray(gold)
        auc = float(metrics.roc_auc_score(gold, values)) if 0 < gold.sum() < len(gold) else None
        cases.append(dict(scores=values.tolist(), gold=gold.tolist(), roc_auc=auc, delong_se=delong(values, gold)))

    for n, share, digits in [(10, 0.5, 4), (50, 0.3, 4), (300, 0.5, 4), (40, 0.5, 1), (200, 0.2, 1), (100, 0.6, 0), (30, 0.9, 0)]:
        gold = rng.permutation((np.arange(n) < share * n).astype(int))
        add(rounded(rng.normal(size=n) + gold, digits), gold)
    gold = rng.permutation(np.arange(16) % 2)
    add(gold * 2 + rounded(rng.random(16), 3), gold)  # perfect
    add(-gold * 2 - rounded(rng.random(16), 3), gold)  # reversed
    add(gold, gold)
    add(1 - gold, gold)
    add(np.full(16, 0.3), gold)
    add(np.where(gold == 1, 0.0, -0.0), gold)  # the zeros are equal
    for value in (0, 1):
        add(rounded(rng.normal(size=8), 3), np.full(8, value))
        add([0.5], [value])
    add([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    add([0.2, 0.1, 0.9, 0.2], [1, 0, 0, 0])  # one positive
    add([0.2, 0.1, 0.9, 0.2], [1, 0, 1, 1])  # one negative
    add([0.1, 0.9], [0, 1])
    add([0.1, 0.9], [1, 0])
    add([0.5, 0.5], [1, 0])
    return cases


def values():
    rng, cases = np.random.default_rng(4), []

    def add(predicted, gold):
        predicted, gold = np.asarray(predicted, float), np.asarray(gold, float)
        defined = all(len(set(v.tolist())) > 1 for v in (predicted, gold))
        pearson, spearman = (finite(f(predicted, gold).statistic) if defined else None for f in (stats.pearsonr, stats.spearmanr))
        cases.append(dict(predicted=predicted.tolist(), gold=gold.tolist(), pearson=pearson, spearman=spearman))

    for n, noise, digits in [(300, 0.8, 4), (3, 1.0, 4), (5, 0.1, 4), (12, 3.0, 4), (40, 1.0, 1), (80, 1.0, 0), (30, 0.0, 2)]:
        gold = rounded(rng.uniform(0, 5, n), digits)
        add(rounded(gold + noise * rng.normal(size=n), digits), gold)
    gold = rounded(rng.uniform(0, 5, 20), 2)
    add(rounded(-2 * gold + 1, 2), gold)
    add(rounded(1000 + 0.01 * rng.normal(size=20), 4), gold)  # a mean far above the spread
    add(rounded(np.exp(3 * gold), 4), gold)  # monotone, not linear
    for constant in (0.0, 0.1, 0.7, 1000.3):
        add(np.full(11, constant), rounded(rng.random(11), 2))
        add(rounded(rng.random(11), 2), np.full(11, constant))
    add(np.full(10, 0.1), np.full(10, 0.1))
    add([1, 2], [3, 5])
    add([1, 2], [5, 3])
    add([1, 1], [5, 3])
    add([2], [3])
    add([1, 2, 2, 3], [4, 4, 5, 5])
    add([0, 0, 0, 1], [5, 5, 5, 0])
    return cases


def clustered(residuals, clusters):
    """The root of the sum of the clusters' squared sums, divided by the number of rows."""
    sums = {}
    for residual, cluster in zip(residuals.tolist(), clusters):
        sums[cluster] = sums.get(cluster, 0.0) + residual
    return float(np.sqrt(sum(s * s for s in sums.values())) / len(residuals))


def plain(x):
    return float(np.sqrt(x.var(ddof=1) / len(x))) if len(x) > 1 else None


def means():
    rng, cases = np.random.default_rng(5), []

    def add(x, clusters=None):
        x = np.asarray(x, float)
        clusters = None if clusters is None else np.asarray(clusters).tolist()
        error = plain(x) if clusters is None else clustered(x - x.mean(), clusters)
        cases.append(dict(values=x.tolist(), clusters=clusters, mean=float(x.mean()), standard_error=error))

    for n, groups in [(2, 1), (10, 3), (40, 40), (100, 12), (300, 60)]:
        x, right = rounded(rng.random(n), 4), rng.integers(0, 2, n)
        cluster = rng.choice(10 * groups, groups, replace=False)[rng.integers(0, groups, n)]  # ids with gaps, out of order
        for row in (x, right):
            add(row)
            add(row, cluster)
        add(rounded(rng.choice([0, 0.3, 0.6, 0.9, 1], n), 1), np.sort(cluster))
    x = rounded(rng.random(25), 4)
    add(x)
    add(x, rng.permutation(25) + 100)  # each cluster of size one
    add([0.25, 0.5, 1, 0.75], [3, 3, 3, 3])  # one cluster: its residuals cancel
    add(np.ones(12))
    add(np.ones(12), np.arange(12) // 4)
    add(np.zeros(5))
    add([1])  # no variance from one row
    add([0.5], [9])
    return cases


def wilson():
    cases = []
    for n in (1, 2, 5, 10, 37, 100, 500, 10000):
        for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
            interval = stats.binomtest(k, n).proportion_ci(method="wilson")
            cases.append(dict(successes=k, n=n, low=float(interval.low), high=float(interval.high)))
    return cases


def retrieval():
    rng, cases = np.random.default_rng(6), []

    def add(similarity, owners):
        s, owners = np.asarray(similarity, np.float32), np.asarray(owners)
        right = owners == np.arange(len(s))[:, None]
        best = np.where(right, s, -np.inf).max(1)
        text = 1 + (~right & (s >= best[:, None])).sum(1)
        image = 1 + (~right & (s >= s[owners, np.arange(len(owners))])).sum(0)
        recall = lambda ranks: {str(k): float((ranks <= k).mean()) for k in (1, 5, 10)}
        cases.append(dict(similarity=np.asarray(similarity).tolist(), owners=owners.tolist(), text_ranks=text.tolist(), image_ranks=image.tolist(), text_recall=recall(text), image_recall=recall(image)))

    def captions(counts):
        return rng.permutation(np.repeat(np.arange(len(counts)), counts))

    def draw(owners, images, strength, digits=2):
        return rounded(rng.normal(size=(images, len(owners))) * 0.3 + strength * (owners == np.arange(images)[:, None]), digits)

    for images, most, strength, digits in [(3, 1, 0.5, 2), (12, 1, 0.3, 2), (8, 3, 0.4, 2), (20, 7, 0.4, 2), (25, 5, 0.6, 2), (15, 7, 0.3, 1), (30, 1, 0.1, 2)]:
        owners = captions(rng.integers(1, most + 1, images))
        add(draw(owners, images, strength, digits), owners)
    owners = np.repeat(np.arange(6), 5)  # five captions an image, in order
    add(draw(owners, 6, 0.5), owners)
    # Captions that occur twice, for other images and for the same one: equal columns.
    owners = captions([1, 2, 3, 4, 5, 6, 7])
    s = draw(owners, 7, 0.5)
    for column in range(0, len(owners) - 1, 2):
        s[:, column + 1] = s[:, column]
    add(s, owners)
    add(draw(owners, 7, 0.5)[[0, 0, 2, 2, 4, 4, 4]], owners)  # equal images
    add(np.full((7, len(owners)), 0.1), owners)  # all equal
    add([[0.0, -0.0], [-0.0, 0.0]], [0, 1])  # the zeros are equal
    add([[0.31]], [0])
    add([[0.3, 0.2, 0.1]], [0, 0, 0])  # one image, no wrong caption
    return cases


def knn():
    rng, cases = np.random.default_rng(7), []

    def add(train, labels, test, count, k, temperature=0.07):
        a, b = (np.asarray(v, float) / np.linalg.norm(v, axis=1, keepdims=True) for v in (train, test))
        similarity, labels = b @ a.T, np.asarray(labels)
        order = np.argsort(-similarity, axis=1, kind="stable")[:, : k + 1]
        sorted_ = np.take_along_axis(similarity, order, 1)
        assert k >= len(a) or (sorted_[:, k - 1] - sorted_[:, k] > 1e-6).all(), "who the k nearest are must not hang on rounding"
        weights = np.exp(sorted_[:, :k] / temperature)
        result = np.stack([(weights * (labels[order[:, :k]] == c)).sum(1) for c in range(count)], 1)
        cases.append(dict(train=np.asarray(train).tolist(), labels=labels.tolist(), test=np.asarray(test).tolist(), classes=count, k=k, temperature=temperature, scores=result.tolist(), predicted=result.argmax(1).tolist()))

    for n, d, count, k, tests in [(30, 4, 3, 1, 8), (30, 4, 3, 10, 8), (40, 8, 5, 20, 10), (25, 3, 2, 25, 6), (15, 5, 4, 100, 6), (50, 6, 10, 5, 10), (1, 3, 2, 1, 3)]:
        centres, labels = rng.normal(size=(count, d)), rng.integers(0, count, n)
        near = lambda y: rounded(3 * (centres[y] + 0.8 * rng.normal(size=(len(y), d))), 4)
        add(near(labels), labels, near(rng.integers(0, count, tests)), count, k)
    add([[2.0, 0.0], [0.0, 5.0]], [2, 1], [[3.0, 3.0], [1.0, 0.5]], 3, 2)  # equal scores: the lowest index
    add(rounded(rng.normal(size=(12, 3)), 2), rng.integers(0, 3, 12), rounded(rng.normal(size=(4, 3)), 2), 3, 5, 1.0)
    return cases


def ridge():
    rng, cases = np.random.default_rng(8), []
    for n, d, count, alpha, tests, offset in [(40, 5, 3, 1.0, 8, 0), (60, 8, 2, 0.01, 6, 3), (30, 4, 6, 100.0, 6, -2), (12, 20, 3, 0.5, 5, 1), (25, 6, 4, 1e4, 4, 0), (3, 2, 3, 1.0, 3, 0), (50, 5, 5, 10.0, 8, 40)]:
        y = rng.integers(0, count - (count == 6), n)  # one of six classes has no row
        draw = lambda y: rounded(rng.normal(size=(len(y), d)) + offset + 0.5 * y[:, None], 4)
        x, test = draw(y), draw(rng.integers(0, count, tests))
        fit = linear_model.Ridge(alpha=alpha, fit_intercept=True, solver="cholesky").fit(x, np.eye(count)[y])
        cases.append(dict(x=x.tolist(), y=y.tolist(), classes=count, alpha=alpha, test=test.tolist(), scores=fit.predict(test).tolist()))
    return cases


def mcnemar():
    rng, cases = np.random.default_rng(9), []

    def add(a, b, clusters=None):
        a, b = np.asarray(a), np.asarray(b)
        clusters = None if clusters is None else np.asarray(clusters).tolist()
        only_a, only_b, d = int((a > b).sum()), int((b > a).sum()), (a - b).astype(float)
        p = float(stats.binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
        error = None if clusters is None else clustered(d - d.mean(), clusters)
        cases.append(dict(a=a.tolist(), b=b.tolist(), p=p, difference=float(a.mean() - b.mean()), standard_error=plain(d), clusters=clusters, clustered_standard_error=error))

    for n, right, same in [(8, 0.5, 0.2), (30, 0.7, 0.5), (100, 0.8, 0.7), (400, 0.6, 0.8), (277, 0.6, 0.1)]:
        a = (rng.random(n) < right).astype(int)
        b = np.where(rng.random(n) < same, a, rng.random(n) < right - 0.1)
        add(a, b)
        add(b, a, rng.integers(0, max(n // 4, 2), n) * 3)
    add([1, 0, 1, 1, 0], [1, 0, 1, 1, 0])  # no discordant pair
    add([1, 0, 1, 1, 0], [1, 0, 1, 1, 0], [0, 0, 1, 1, 2])
    add(np.ones(20, int), np.zeros(20, int))  # each pair discordant, one way
    add(np.arange(12) % 2, 1 - np.arange(12) % 2)  # as many each way
    add([1, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 0], [5, 1, 4, 2, 0, 3])  # one discordant pair, clusters of size one
    add([1, 1], [0, 1])
    return cases


def holm():
    rng, cases = np.random.default_rng(10), []

    def add(p):
        p = np.asarray(p, float)
        order, adjusted = np.argsort(p, kind="stable"), np.empty(len(p))
        adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
        cases.append(dict(p=p.tolist(), adjusted=adjusted.tolist()))

    for n in (2, 3, 8, 22, 50):
        add(rounded(rng.random(n) ** 3, 4))
    for p in ([0.03], [1.0], [0.0, 1.0], [0.01, 0.01, 0.01], [0.01, 0.04, 0.03, 0.005], [0.5, 0.6, 0.7], [0.0, 0.0, 0.2], [0.04, 0.03, 0.02, 0.01]):
        add(p)
    return cases


def clean(text):
    return text.replace("\n", " ").replace("\t", " ").strip()


def vqa(path):
    with open(path, encoding="utf-8") as f:
        source = re.sub(r"(?m)^([ \t]*)print (.*)$", r"\1print(\2)", f.read())
    namespace = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # escapes in its patterns
        exec(compile(source, path, "exec"), namespace)

    class Unrounded(namespace["VQAEval"]):
        def setEvalQA(self, quesId, acc):
            self.unrounded = acc
            super().setEvalQA(quesId, acc)

    def evaluator(answers, prediction):
        truth = {"answers": [{"answer": a, "answer_id": i + 1, "answer_confidence": "yes"} for i, a in enumerate(answers)], "question_type": "what", "answer_type": "other"}
        return Unrounded(types.SimpleNamespace(qa={1: truth}, getQuesIds=lambda: [1]), types.SimpleNamespace(qa={1: {"question_id": 1, "answer": prediction}}))

    def process(text):
        official = evaluator([], "")
        return official.processDigitArticle(official.processPunctuation(text))

    result = {"process": [], "scores": []}
    seen = set()

    def add(answers, prediction):
        official, key = evaluator(answers, prediction), (tuple(answers), prediction)
        if key in seen:
            return
        seen.add(key)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            official.evaluate()
        result["scores"].append(dict(answers=list(answers), prediction=prediction, score=float(official.unrounded)))

    contractions = list(evaluator([], "").contractions)
    texts = AWKWARD + contractions + [f(word) for word in contractions[::6] for f in (str.capitalize, str.upper)]
    for mark in string.punctuation:
        texts += [form.replace("|", mark) for form in ("x|y", "x| y|z", "x |y|z", "|x", "x|", "|", "1,2 x|y", "1|2", "ten|the")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in dict.fromkeys(texts):
            # Where the cleaning of evaluate() changes what comes out, the text is scored below, not listed here.
            if process(text) == process(clean(text)):
                result["process"].append([text, process(text)])
            else:
                add([process(clean(text))] * 2 + [text] + [str(i) for i in range(7)], text)
                add([process(text)] * 2 + ["yes"] * 8, text)

    for matching in range(11):
        for prediction in ("yes", "Yes."):
            add(["yes"] * matching + ["no"] * (10 - matching), prediction)
    for same, predictions in {
        "Yes": ["Yes", "yes", "Yes ", "\tYes\n", "YES.", "Yes."], "the cat": ["the cat", "cat", "The cat", "the  cat"], "5.": ["5.", "5"], "none": ["none", "0", "None"],
        "": ["", " ", "\n", "the", "?"], "t-shirt": ["t-shirt", "t shirt"], " dont\n": ["dont", "don't", "dont\t"], "a\tb": ["a\tb", "a b", "b", "a\nb"], "1,000": ["1,000", "1000"],
    }.items():  # fmt: skip
        for prediction in predictions:
            add([same] * 10, prediction)  # all agree: word for word
            add([same] * 9 + [same + "!"], prediction)  # not all: normalised
            add([same] * 4 + [same + " ", same + "\n", "\t" + same] * 2, prediction)  # all agree once cleaned
    rng = np.random.default_rng(11)
    for pool in POOLS:
        for _ in range(12):
            some = rng.choice(len(pool), int(rng.integers(2, 6)), replace=False)
            add([pool[i] for i in rng.choice(some, 10)], pool[int(rng.choice(some) if rng.random() < 0.8 else rng.integers(len(pool)))])
    short = [t for t in dict.fromkeys(texts) if len(t) < 20]
    for _ in range(40):
        some = rng.choice(len(short), 4, replace=False)
        add([short[i] for i in rng.choice(some, 10)], short[int(rng.choice(some))])
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--vqa-eval")
    args = parser.parse_args()
    if args.vqa_eval:
        answers = vqa(args.vqa_eval)
    else:
        with open(args.file) as f:
            answers = json.load(f)["vqa"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's on classes that are absent
        sections = {section.__name__: section() for section in (classes, top5, scores, values, means, wilson, retrieval, knn, ridge, mcnemar, holm)}
    versions = dict(sklearn=sklearn.__version__, scipy=scipy.__version__, numpy=np.__version__)
    with open(args.file, "w") as f:
        json.dump({**versions, **sections, "vqa": answers}, f, separators=(",", ":"), allow_nan=False)


if __name__ == "__main__":
    main()
