//! The production bus: RabbitMQ 3.10 and 4.x, over lapin.
