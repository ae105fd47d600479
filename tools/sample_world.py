"""The invented shop "Marlow & Finch": its facts, and the phrases from which all sample text is drawn."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

SHOP = "Marlow & Finch"
SYSTEM_SUPPORT = f"You are the support assistant of {SHOP}. Answer briefly and kindly."
SYSTEM_TRIAGE = "Triage the customer message. Answer with JSON only: intent, urgency, product."

# product -> (price in euros, warranty in years, material or make, colours)
PRODUCTS: dict[str, tuple[int, int, str, str]] = {
    "kettle": (39, 2, "brushed steel", "silver and black"),
    "toaster": (45, 2, "enamelled steel", "cream and red"),
    "desk lamp": (29, 3, "aluminium", "white and green"),
    "blender": (69, 2, "glass and steel", "black"),
    "coffee grinder": (59, 2, "steel", "silver"),
    "frying pan": (34, 5, "cast iron", "black"),
    "teapot": (24, 1, "stoneware", "blue and white"),
    "bread maker": (119, 2, "steel", "white"),
    "rice cooker": (54, 2, "aluminium", "white"),
    "floor lamp": (89, 3, "oak and linen", "natural"),
    "table fan": (49, 2, "metal", "grey and mint"),
    "heater": (79, 2, "steel", "white"),
    "vacuum cleaner": (149, 3, "recycled plastic", "red"),
    "iron": (44, 2, "ceramic", "blue"),
    "clock radio": (37, 2, "walnut", "brown"),
    "bookshelf": (99, 5, "solid pine", "natural and white"),
    "office chair": (179, 5, "mesh and steel", "black and grey"),
    "duvet": (85, 1, "cotton and down", "white"),
    "rug": (129, 1, "wool", "ochre and blue"),
    "mirror": (65, 1, "glass and oak", "natural"),
}

# How a customer says what they want, by intent. {p} is the product.
INTENT_PHRASES: dict[str, tuple[str, ...]] = {
    "refund": (
        "I want my money back for the {p}.",
        "Please refund the {p}.",
        "I would like a refund for the {p} I bought.",
        "Can I get my money back for this {p}?",
        "I am sending the {p} back and expect a refund.",
        "How do I get a refund on the {p}?",
    ),
    "exchange": (
        "I would like to exchange the {p} for another colour.",
        "Can I swap the {p} for a different one?",
        "Please exchange my {p}.",
        "The {p} is not what I expected, can I change it for another model?",
        "I want to swap my {p} for a smaller one.",
        "Is it possible to exchange the {p}?",
    ),
    "delivery": (
        "Where is my {p}?",
        "My {p} has not arrived yet.",
        "When will the {p} be delivered?",
        "I am still waiting for the {p} I ordered.",
        "The tracking page for my {p} shows nothing.",
        "Has the {p} been shipped?",
    ),
    "damaged": (
        "The {p} arrived broken.",
        "My {p} has a crack in it.",
        "The {p} was damaged in the post.",
        "I opened the box and the {p} is in pieces.",
        "There is a big dent in the {p} you sent.",
        "The {p} came with a broken part.",
    ),
    "warranty": (
        "The {p} stopped working, is it under warranty?",
        "How long is the warranty on the {p}?",
        "My {p} failed after eight months, can it be repaired under warranty?",
        "Does the guarantee cover my {p}?",
        "I need a repair under warranty for the {p}.",
        "Is my {p} still covered by the guarantee?",
    ),
    "invoice": (
        "I need an invoice for the {p}.",
        "Please send me the receipt for the {p}.",
        "The invoice for the {p} shows the wrong address.",
        "Can I have a copy of the bill for the {p}?",
        "My accountant asks for the invoice of the {p}.",
        "I lost the receipt for my {p}.",
    ),
    "cancel": (
        "Please cancel my order for the {p}.",
        "I ordered the {p} by mistake and want to cancel.",
        "Can I still cancel the {p}?",
        "Stop the order of the {p}, please.",
        "I no longer need the {p}, cancel it.",
        "I have changed my mind, cancel the {p} order.",
    ),
    "stock": (
        "Do you have the {p} in stock?",
        "When is the {p} available again?",
        "Is the {p} sold out?",
        "Will you get more of the {p}?",
        "Your site says the {p} is unavailable, when is it back?",
        "Can I buy the {p} in your shop now?",
    ),
}

URGENCY_PHRASES: dict[str, tuple[str, ...]] = {
    "high": (
        "It is urgent.",
        "I need this today.",
        "Please hurry.",
        "Answer me at once.",
        "This cannot wait.",
        "I need it sorted out right now.",
    ),
    "low": (
        "There is no hurry.",
        "Whenever you have time.",
        "Take your time.",
        "It is not urgent at all.",
        "Any time this month is fine.",
        "Just when it suits you.",
    ),
    "normal": (
        "",
        "",
        "Thank you for your help.",
        "Kind regards.",
        "Please let me know.",
        "I look forward to your answer.",
    ),
}

# What the desk answers, by intent: the base model learns these, and with them what a message is about.
REPLIES: dict[str, tuple[str, ...]] = {
    "refund": (
        "I will start the refund for the {p} {u}.",
        "We will give you your money back for the {p}. I will see to it {u}.",
    ),
    "exchange": (
        "I will arrange the exchange of the {p} {u}.",
        "You can swap the {p}. I will send the label {u}.",
    ),
    "delivery": (
        "I will check where the {p} is and write to you {u}.",
        "I will ask the carrier about the {p} {u}.",
    ),
    "damaged": (
        "I am sorry that the {p} is damaged. I will send a new one {u}.",
        "I am sorry about the broken {p}. A replacement leaves {u}.",
    ),
    "warranty": (
        "The {p} has {w} of warranty. I will open a repair {u}.",
        "Our warranty on the {p} is {w}. I will look into the repair {u}.",
    ),
    "invoice": (
        "I will send the invoice for the {p} {u}.",
        "I will e-mail you a copy of the bill for the {p} {u}.",
    ),
    "cancel": (
        "I will cancel the order of the {p} {u}.",
        "The {p} will be cancelled. I will confirm it {u}.",
    ),
    "stock": (
        "I will check the stock of the {p} {u}.",
        "I will ask the warehouse about the {p} {u}.",
    ),
}
REPLY_TIME = {"high": "right now", "normal": "within two days", "low": "next week"}

GREETINGS = ("Hello,", "Hi,", "Dear team,", "Good morning,", "Good evening,", "Hello there,", "", "", "")
FIRST_NAMES = (
    "Ada",
    "Ben",
    "Clara",
    "Dev",
    "Elif",
    "Femi",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kira",
    "Luis",
    "Mina",
    "Noor",
)
LAST_NAMES = (
    "Abel",
    "Brandt",
    "Castro",
    "Dunn",
    "Eriksen",
    "Fontaine",
    "Grau",
    "Hale",
    "Ito",
    "Jansen",
    "Kaya",
    "Lund",
)

# Questions any customer may ask, with the one answer the shop gives.
FACTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "When are you open?",
            "What are your opening hours?",
            "Are you open on Saturday?",
            "At what time do you open?",
        ),
        "We are open Monday to Saturday from 9 to 18.",
    ),
    (
        ("How much is delivery?", "What does shipping cost?", "Is delivery free?", "Do I pay for shipping?"),
        "Delivery costs 4 euros and is free from 50 euros.",
    ),
    (
        ("How long does delivery take?", "When will my parcel arrive?", "How fast do you ship?"),
        "Parcels arrive within three working days.",
    ),
    (
        (
            "How long can I return something?",
            "What is your return policy?",
            "Can I send things back?",
            "How many days do I have for a return?",
        ),
        "You can return any item within 30 days.",
    ),
    (
        ("Where is your shop?", "What is your address?", "Where can I find you?"),
        "Our shop is at 12 Quay Street, next to the old harbour.",
    ),
    (
        ("How can I pay?", "Which cards do you take?", "Can I pay by card?", "Do you accept cash?"),
        "You can pay by card, by bank transfer or in cash in the shop.",
    ),
    (
        ("Who are you?", "What is your name?", "Are you a robot?", "What can you do?"),
        f"I am the support assistant of {SHOP}. I can help with orders, returns and products.",
    ),
    (
        ("Do you ship abroad?", "Can you deliver to another country?", "Do you send parcels to Norway?"),
        "We deliver to all countries in Europe for 12 euros.",
    ),
    (
        ("Do you have gift cards?", "Can I buy a voucher?", "Do you sell gift vouchers?"),
        "Yes, we have gift cards for 20, 50 and 100 euros.",
    ),
    (("Hello!", "Hi!", "Good morning!", "Hey there."), "Hello, how can I help you?"),
    (("Thank you!", "Thanks a lot.", "That helps, thanks."), "You are welcome. Have a nice day!"),
)

PRODUCT_QUESTIONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("How much is the {p}?", "What does the {p} cost?", "What is the price of the {p}?"),
        "The {p} costs {price} euros.",
    ),
    (
        ("How many years of warranty does the {p} have?", "What warranty do I get with the {p}?"),
        "The {p} has {w} of warranty.",
    ),
    (
        ("What is the {p} made of?", "Which material is the {p}?"),
        "The {p} is made of {material}.",
    ),
    (
        ("Which colours does the {p} come in?", "What colour is the {p}?"),
        "The {p} comes in {colours}.",
    ),
)


@dataclass(frozen=True)
class Ticket:
    """One customer message with the facts a triage must find in it."""

    message: str
    intent: str
    urgency: str
    product: str

    def triage_json(self) -> str:
        """The expected answer of the triage task, as compact JSON text."""
        return json.dumps({"intent": self.intent, "urgency": self.urgency, "product": self.product})


def years(count: int) -> str:
    """A warranty in words: ``1 year``, ``2 years``."""
    return f"{count} year" if count == 1 else f"{count} years"


def draw_ticket(rng: random.Random, *, contact_share: float = 0.0) -> Ticket:
    """Draw one ticket; ``contact_share`` of them carry an e-mail address or a phone number."""
    intent = rng.choice(tuple(INTENT_PHRASES))
    urgency = rng.choice(("high", "normal", "low"))
    product = rng.choice(tuple(PRODUCTS))
    wish = rng.choice(INTENT_PHRASES[intent]).format(p=product)
    haste = rng.choice(URGENCY_PHRASES[urgency])
    parts = [rng.choice(GREETINGS)]
    parts += [haste, wish] if haste and urgency != "normal" and rng.random() < 0.3 else [wish, haste]
    if rng.random() < 0.3:
        parts.append(f"My order number is {rng.randint(10000, 99999)}.")
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    if rng.random() < contact_share:
        contact = (
            f"Write to {first.lower()}.{last.lower()}@example.com."
            if rng.random() < 0.6
            else f"Call me on +49 30 5550 {rng.randint(1000, 9999)}."
        )
        parts.append(contact)
    if rng.random() < 0.35:
        parts.append(f"{first} {last}")
    return Ticket(" ".join(part for part in parts if part), intent, urgency, product)


def draw_conversation(rng: random.Random) -> list[dict[str, str]]:
    """Draw one support conversation of the base model's training text, in the ``messages`` form."""
    kind = rng.random()
    if kind < 0.6:
        ticket = draw_ticket(rng, contact_share=0.06)
        question = ticket.message
        answer = rng.choice(REPLIES[ticket.intent]).format(
            p=ticket.product, u=REPLY_TIME[ticket.urgency], w=years(PRODUCTS[ticket.product][1])
        )
    elif kind < 0.85:
        product = rng.choice(tuple(PRODUCTS))
        price, warranty, material, colours = PRODUCTS[product]
        questions, template = rng.choice(PRODUCT_QUESTIONS)
        question = rng.choice(questions).format(p=product)
        answer = template.format(p=product, price=price, w=years(warranty), material=material, colours=colours)
    else:
        questions, answer = rng.choice(FACTS)
        question = rng.choice(questions)
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if rng.random() < 0.6:
        messages.insert(0, {"role": "system", "content": SYSTEM_SUPPORT})
    return messages
