"""score_one.py - one request judged for its user: who is asking, which criteria follow, a score for each response.

    pip install ./python && python python/examples/score_one.py        # cells begin with # %%
"""
# %% the default model with the adapter that comes with pgenrm (make model fetches it)
from pgenrm import Judge, Pair, User

judge = Judge()
print(judge)

# %% a user is what he chose before; criteria and demographics may stand beside it
marta = User("marta", [
    Pair("Can I freeze cooked rice?",
         "Yes. Cool it within an hour, freeze it flat in portions, and eat it within a month.",
         "It depends on many factors. Some people freeze rice and some prefer not to."),
    Pair("A present for a friend who cycles?",
         "A multitool that fits a saddle bag (about 25 euros). If he has one: a pair of wool socks, 18 euros.",
         "What a lovely thought! Here are twenty gift ideas for cyclists of all kinds."),
    Pair("How does a heat pump work?",
         "It is a fridge run backwards: it collects warmth outside and gives it off inside.",
         "A heat pump operates on the vapour-compression refrigeration cycle, comprising four main components."),
])

# %% the question, and two answers
result = judge.score(marta, "What can I cook from chickpeas in 40 minutes?", [
    "Chickpea and spinach stew: fry an onion for 5 minutes, add 2 cans of chickpeas, 300 g of spinach and a can of "
    "tomatoes, 20 minutes. Serves 3.",
    "Chickpeas are incredibly versatile! There are many wonderful dishes that one might consider, depending on taste.",
], ind=8, seed=1)
result  # a notebook shows the report here

# %% the same as numbers
print(result.persona)
for r in result.responses:
    print(f"response {r.index}: {r.score:.2f} ± {r.se:.2f}, best with probability {r.win:.2f}")
for c in result.criteria[:4]:
    print(f"{c.weight:5.1f} %  {c.name}: {c.scores}")

# %% what a stranger would get: the same question, nobody's history
stranger = judge.score(None, result.query, [r.text for r in result.responses], ind=8, seed=1)
print("as marta:", [round(s, 2) for s in result.scores], " as nobody:", [round(s, 2) for s in stranger.scores])
judge.close()
