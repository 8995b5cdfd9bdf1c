# SPDX-License-Identifier: Apache-2.0
"""Random JSON schemas of the supported kind, and now and then of a kind that must be refused."""
import random

PATTERNS = [r"^[a-z]+$", r"^\d{3}-\d{4}$", r"foo|bar", r"^(a|b)*c$", r"[A-Z]{2,5}", r"^.{1,8}$", r"^[^,;]*$", r"x\.y",
            r"^\w+@\w+\.(com|org)$", r"^\"q\\[\t]?$", "^[äöü]+ß?$", r"^(0|-?[1-9]\d*)$", r"end$", r"^\S+(\s\S+)?$",
            r"^[^\"\\]{2,}$", r"(ab){2,3}$"]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "ipv6", "email", "hostname", "uri", "duration", "json-pointer"]
NAMES = ["a", "b", "name", "value", "x y", "ключ", "quo\"te", "back\\slash", "id", "ID", "items", "type", "", "a/b",
         "properties", "long_property_name_with_words", "nested", "tab\t", "€uro", "aa", "ab"]


class Random:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.defs = {}

    def string(self):
        r, s = self.r, {"type": "string"}
        kind = r.random()
        if kind < 0.2:
            s["pattern"] = r.choice(PATTERNS)
        elif kind < 0.4:
            s["format"] = r.choice(FORMATS)
        elif kind < 0.6:
            if r.random() < 0.7:
                s["minLength"] = r.choice([0, 1, 2, 5, 12])
            if r.random() < 0.7:
                s["maxLength"] = s.get("minLength", 0) + r.choice([0, 1, 3, 10, 200])
        elif kind < 0.65:
            s.update(pattern=r.choice([r"^[a-z]+$", r"[A-Z]{2,5}", r"^(a|b)*c$"]), minLength=r.choice([2, 3]), maxLength=r.choice([4, 9]))
        return s

    def number(self):
        r = self.r
        s = {"type": r.choice(["integer", "number"])}
        if r.random() < 0.5:
            s[r.choice(["minimum", "exclusiveMinimum"])] = r.choice([0, -5, 3, 17, -1234, 1e3, 0.5, -2.25, 99, 1e-3])
        if r.random() < 0.5:
            low = max([s.get("minimum", -1e9), s.get("exclusiveMinimum", -1e9)])
            high = r.choice([x for x in [0, 7, 12.75, 100, 4321, 1e6, 0.625, 123456789] if x > low + 2 or x > 1e6] or [1e9])
            s[r.choice(["maximum", "exclusiveMaximum"])] = high
        if r.random() < 0.15 and s["type"] == "integer":
            s["multipleOf"] = r.choice([1, 2, 3, 5, 10, 7, 25])
        return s

    def literal(self, depth=0):
        r = self.r
        k = r.randrange(8 if depth < 2 else 6)
        if k < 2:
            return r.choice(["x", "two words", "quo\"te", "a\nb", "漢字", "", "\u0001", "\\"])
        if k == 2:
            return r.choice([0, 1, -7, 12345678901234567890])
        if k == 3:
            return r.choice([1.5, -0.25, 1e20, 3.0])
        if k < 6:
            return r.choice([True, False, None])
        if k == 6:
            return [self.literal(depth + 1) for _ in range(r.randrange(3))]
        return {n: self.literal(depth + 1) for n in r.sample(NAMES, r.randrange(3))}

    def obj(self, depth):
        r = self.r
        names = r.sample(NAMES, r.randrange(5))
        s = {"type": "object", "properties": {n: self.schema(depth + 1) for n in names}}
        s["required"] = [n for n in names if r.random() < 0.5]
        k = r.random()
        if k < 0.4:
            s["additionalProperties"] = False
        elif k < 0.55:
            s["additionalProperties"] = True
        elif k < 0.75:
            s["additionalProperties"] = self.schema(depth + 2)
        if r.random() < 0.1:
            s["required"].append("more")
        if not s["required"]:
            del s["required"]
        return s

    def array(self, depth):
        r = self.r
        s = {"type": "array"}
        if r.random() < 0.8:
            s["items"] = self.schema(depth + 1)
        if r.random() < 0.3:
            s["prefixItems"] = [self.schema(depth + 1) for _ in range(r.randrange(1, 4))]
            if r.random() < 0.4:
                s["items"] = False
        if r.random() < 0.4:
            s["minItems"] = r.randrange(4)
        if r.random() < 0.4:
            s["maxItems"] = s.get("minItems", 0) + r.randrange(4)
        return s

    def union(self, depth):
        r = self.r
        k = r.random()
        if k < 0.4:
            return {"anyOf": [self.schema(depth + 1) for _ in range(r.randrange(1, 4))]}
        if k < 0.6:
            types = r.sample(["string", "integer", "boolean", "null", "array", "object"], r.randrange(1, 4))
            return {"oneOf": [{"type": t} for t in types]}
        if k < 0.75:
            kinds = r.sample(["cat", "dog", "cow"], r.randrange(2, 4))
            return {"oneOf": [{"type": "object", "properties": {"kind": {"const": n}, n: self.schema(depth + 1)},
                               "required": ["kind"]} for n in kinds]}
        if k < 0.9:
            return {"allOf": [self.obj(depth + 1), {"type": "object", "properties": {"extra": self.schema(depth + 1)}}]}
        return {"allOf": [{"type": "integer", "minimum": r.randrange(5)}, {"maximum": r.randrange(10, 99)}]}

    def schema(self, depth=0):
        r = self.r
        k = r.random()
        if depth > 3:
            k *= 0.6
        if k < 0.2:
            return self.string()
        if k < 0.35:
            return self.number()
        if k < 0.42:
            return {"type": r.choice(["boolean", "null"])}
        if k < 0.5:
            return {"enum": [self.literal() for _ in range(r.randrange(1, 5))]}
        if k < 0.54:
            return {"const": self.literal()}
        if k < 0.57:
            return r.choice([True, {}, {"type": ["string", "null", "integer"]}])
        if k < 0.6 and self.defs:
            return {"$ref": "#/$defs/" + r.choice(list(self.defs))}
        if k < 0.75:
            return self.array(depth)
        if k < 0.9:
            return self.obj(depth)
        return self.union(depth)

    def document(self):
        r = self.r
        if r.random() < 0.3:
            self.defs = {n: None for n in ["node", "leaf"][: r.randrange(1, 3)]}
            defs = {}
            for n in self.defs:
                defs[n] = self.schema(1)
            root = self.schema()
            root = dict(root) if isinstance(root, dict) else {}
            root["$defs"] = defs
            return root
        return self.schema()
